/** A chore repeated for the life of the process, one at a time; a failure is told and the next turn comes. */
export type Repeated = { readonly stop: () => Promise<void> };

export function every(
  intervalMs: number,
  work: () => Promise<void>,
  onFailure: (error: unknown) => void,
): Repeated {
  let running: Promise<void> | null = null;
  const timer = setInterval(() => {
    running ??= work()
      .catch(onFailure)
      .finally(() => {
        running = null;
      });
  }, intervalMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}
