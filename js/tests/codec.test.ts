import { describe, expect, it } from "vitest";
import { bytes, floats, number, unpackBits } from "../src/shared/codec";

function view(values: Float32Array, shift: number): DataView {
  const buffer = new ArrayBuffer(shift + values.byteLength + 8);
  new Uint8Array(buffer, shift).set(new Uint8Array(values.buffer));
  return new DataView(buffer, shift, values.byteLength);
}

describe("floats", () => {
  it.each([0, 4, 3])("reads an array that starts at byte %i of its buffer", (shift) => {
    const values = Float32Array.of(1.5, -2, Number.NaN, Number.POSITIVE_INFINITY);
    const read = floats({ view: view(values, shift), dtype: "float32", shape: [2, 2] });
    expect([...read]).toEqual([1.5, -2, Number.NaN, Number.POSITIVE_INFINITY]);
  });

  it("refuses another type and another size", () => {
    const values = view(Float32Array.of(1, 2), 0);
    expect(() => floats({ view: values, dtype: "float64", shape: [1] })).toThrow(
      "expected float32, got float64",
    );
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
