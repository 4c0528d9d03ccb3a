// Bytes from Python as typed arrays.

/** An array as `widgets/buffers.py` sends it. */
export interface ArrayMessage {
  view: DataView;
  dtype: string;
  shape: number[];
}

/** The float32 values of a message. The view may start anywhere in its buffer. */
export function floats(message: ArrayMessage): Float32Array {
  if (message.dtype !== "float32") throw new TypeError(`expected float32, got ${message.dtype}`);
  const { buffer, byteOffset, byteLength } = message.view;
  const count = message.shape.reduce((product, side) => product * side, 1);
  if (byteLength !== 4 * count) throw new RangeError(`expected ${4 * count} bytes, got ${byteLength}`);
  // A Float32Array must start at a multiple of 4; a copy always does.
  return byteOffset % 4 === 0
    ? new Float32Array(buffer, byteOffset, count)
    : new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

/** A byte array on the same memory as a view. */
export function bytes(view: DataView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}

/** A mask packed at one bit per pixel, the highest bit first, as one byte per pixel. */
export function unpackBits(view: DataView, count: number): Uint8Array {
  const packed = bytes(view);
  const mask = new Uint8Array(count);
  if (packed.length * 8 < count) return mask;
  for (let i = 0; i < count; i++) mask[i] = (packed[i >> 3] >> (7 - (i & 7))) & 1;
  return mask;
}

/** A number that JSON could not carry travels as a word. */
export function number(value: number | string | null | undefined): number {
  if (typeof value === "number") return value;
  if (value === "inf") return Number.POSITIVE_INFINITY;
  if (value === "-inf") return Number.NEGATIVE_INFINITY;
  return Number.NaN;
}

/** The int32 values of a message. */
export function ints(message: ArrayMessage): Int32Array {
  if (message.dtype !== "int32") throw new TypeError(`expected int32, got ${message.dtype}`);
  const { buffer, byteOffset, byteLength } = message.view;
  return new Int32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}
