// What comes from Python, in the form in which `hdm_widgets/_wire.py` sends it.

export interface ArrayMessage {
  view: DataView;
  dtype: string;
  shape: number[];
}

/** A number of a message; those that JSON lacks come as the texts "nan", "inf" and "-inf". */
export type WireNumber = number | string | null | undefined;

const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array };
type Arrays = { [K in keyof typeof ARRAYS]: InstanceType<(typeof ARRAYS)[K]> };

function values<K extends keyof Arrays>(message: ArrayMessage, dtype: K): Arrays[K] {
  if (message.dtype !== dtype) throw new TypeError(`expected ${dtype}, got ${message.dtype}`);
  const { byteOffset, byteLength } = message.view;
  const buffer = message.view.buffer as ArrayBuffer;
  const count = message.shape.reduce((product, side) => product * side, 1);
  const Values = ARRAYS[dtype];
  const size = Values.BYTES_PER_ELEMENT * count;
  if (byteLength !== size) throw new RangeError(`expected ${size} bytes, got ${byteLength}`);
  // The view may start anywhere in its buffer, a typed array only at a multiple of its element's size; a copy does.
  const aligned = byteOffset % Values.BYTES_PER_ELEMENT === 0;
  const array = aligned
    ? new Values(buffer, byteOffset, count)
    : new Values(buffer.slice(byteOffset, byteOffset + byteLength));
  return array as Arrays[K];
}

export const floats = (message: ArrayMessage): Float32Array => values(message, "float32");
export const doubles = (message: ArrayMessage): Float64Array => values(message, "float64");
export const ints = (message: ArrayMessage): Int32Array => values(message, "int32");

export function number(value: WireNumber): number {
  if (typeof value === "number") return value;
  if (value === "inf") return Number.POSITIVE_INFINITY;
  if (value === "-inf") return -Number.POSITIVE_INFINITY;
  return Number.NaN;
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

/** The same the other way round. */
export function packBits(mask: Uint8Array): DataView {
  const packed = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((one, i) => {
    if (one) packed[i >> 3] |= 128 >> (i & 7);
  });
  return new DataView(packed.buffer);
}
