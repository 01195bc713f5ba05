/**
 * Bytes kept of a stream. Small chunks are copied into blocks that grow: a view for each of three
 * million single bytes took 440 MB, and each small view keeps the whole buffer alive that it was cut from.
 */
export type ByteStore = {
  parts: Uint8Array[];
  /** The block that small chunks are copied into, or null. */
  block: Uint8Array | null;
  /** How much of the block is filled. */
  filled: number;
  /** Bytes kept in all. */
  length: number;
};

/** Chunks of this size and more are kept as they are: a view of one costs little beside its bytes. */
const KEPT_AS_IS_BYTES = 4_096;

const BLOCK_BYTES_MIN = 1_024;
const BLOCK_BYTES_MAX = 65_536;

export function emptyBytes(): ByteStore {
  return { parts: [], block: null, filled: 0, length: 0 };
}

export function addBytes(store: ByteStore, chunk: Uint8Array): void {
  store.length += chunk.length;
  // Most answers come in one piece: the first is kept as it is, whatever its size.
  if (chunk.length >= KEPT_AS_IS_BYTES || store.length === chunk.length) {
    closeBlock(store);
    store.parts.push(chunk);
    return;
  }
  let from = 0;
  while (from < chunk.length) {
    const block = store.block ?? openBlock(store);
    const end = Math.min(chunk.length, from + block.length - store.filled);
    block.set(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end), store.filled);
    store.filled += end - from;
    from = end;
    if (store.filled === block.length) closeBlock(store);
  }
}

/** What is kept, in order. Later additions do not change what was answered. */
export function partsOf(store: ByteStore): readonly Uint8Array[] {
  const { parts, block, filled } = store;
  return block === null ? parts : [...parts, block.subarray(0, filled)];
}

/** What is kept, in one piece. */
export function joinParts(store: ByteStore): Uint8Array {
  return joinBytes(partsOf(store), store.length);
}

export function clearBytes(store: ByteStore): void {
  store.parts = [];
  store.block = null;
  store.filled = 0;
  store.length = 0;
}

/** Blocks grow with what is kept, so that a short stream takes little and a long one few blocks. */
function openBlock(store: ByteStore): Uint8Array {
  const size = Math.min(BLOCK_BYTES_MAX, Math.max(BLOCK_BYTES_MIN, store.length));
  const block = new Uint8Array(size);
  store.block = block;
  store.filled = 0;
  return block;
}

function closeBlock(store: ByteStore): void {
  const { block, filled } = store;
  if (block === null) return;
  store.parts.push(block.subarray(0, filled));
  store.block = null;
  store.filled = 0;
}

/** Parts in one piece; a single part is itself. */
export function joinBytes(parts: readonly Uint8Array[], length: number): Uint8Array {
  const only = parts[0];
  if (parts.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
