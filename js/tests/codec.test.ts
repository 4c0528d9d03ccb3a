import { describe, expect, it } from "vitest";
import { bytes, doubles, floats, ints, number, unpackBits } from "../src/shared/codec";

function view(
  values: ArrayLike<number> & { buffer: ArrayBuffer; byteLength: number },
  shift: number,
): DataView {
  const buffer = new ArrayBuffer(shift + values.byteLength + 8);
  new Uint8Array(buffer, shift).set(new Uint8Array(values.buffer));
  return new DataView(buffer, shift, values.byteLength);
}

const NUMBERS = [1.5, -2, Number.NaN, Number.POSITIVE_INFINITY];

describe("an array", () => {
  it.each([0, 8, 4, 3])("may start at byte %i of its buffer", (shift) => {
    const message = (dtype: string, values: Parameters<typeof view>[0]) => ({
      view: view(values, shift),
      dtype,
      shape: [2, 2],
    });
    expect([...floats(message("float32", Float32Array.from(NUMBERS)))]).toEqual(NUMBERS);
    expect([...doubles(message("float64", Float64Array.from(NUMBERS)))]).toEqual(NUMBERS);
    expect([...ints(message("int32", Int32Array.of(7, -1, 0, 2 ** 31 - 1)))]).toEqual([
      7,
      -1,
      0,
      2 ** 31 - 1,
    ]);
  });

  it("of another type or size is refused", () => {
    const values = view(Float32Array.of(1, 2), 0);
    expect(() => floats({ view: values, dtype: "float64", shape: [1] })).toThrow(
      "expected float32, got float64",
    );
    expect(() => ints({ view: values, dtype: "float32", shape: [2] })).toThrow("expected int32, got float32");
    expect(() => floats({ view: values, dtype: "float32", shape: [3] })).toThrow("expected 12 bytes, got 8");
  });
});

describe("unpackBits", () => {
  it("takes the highest bit first and stops at the count", () => {
    const packed = new DataView(Uint8Array.of(0xff, 0b1010_0001, 0b1100_0000).buffer, 1);
    expect([...unpackBits(packed, 10)]).toEqual([1, 0, 1, 0, 0, 0, 0, 1, 1, 1]);
  });

  it("gives an empty mask while there are no bytes", () => {
    expect([...unpackBits(new DataView(new ArrayBuffer(0)), 3)]).toEqual([0, 0, 0]);
  });
});

it("bytes stay on the memory of their view", () => {
  const buffer = Uint8Array.of(9, 8, 7, 6).buffer;
  expect([...bytes(new DataView(buffer, 1, 2))]).toEqual([8, 7]);
});

it("numbers that JSON has no word for travel as words", () => {
  expect(number(2.5)).toBe(2.5);
  expect(number("inf")).toBe(Number.POSITIVE_INFINITY);
  expect(number("-inf")).toBe(Number.NEGATIVE_INFINITY);
  expect(number("nan")).toBeNaN();
  expect(number(undefined)).toBeNaN();
});
