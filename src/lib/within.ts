/**
 * The promise; or, where it has not settled within `msMax` ms, what `late` answers or throws. What the promise stands
 * for goes on.
 */
export async function within<Value, Late>(
  msMax: number,
  promise: Promise<Value>,
  late: () => Late,
): Promise<Value | Late> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const lateness = new Promise<typeof LATE>((done) => {
    timer = setTimeout(() => done(LATE), msMax);
  });
  try {
    const first = await Promise.race([promise, lateness]);
    return first === LATE ? late() : first;
  } finally {
    clearTimeout(timer);
  }
}

const LATE = Symbol("late");
