// @vitest-environment jsdom
// What the stage and the lines around it show of a map.
import { expect, it } from "vitest";
import { bits, explorerState } from "./explorer_state";
import { button, doublesMessage, fakeCanvases, rest } from "./fake_model";
import { onStage, packed, path, show } from "./two_masks";

onStage();

it("edges are dark over the map, on an image that is lightened, and light without it", async () => {
  const put = fakeCanvases();
  const { model, el, stop } = show({ _edges: packed([0, 0, 1, 1]), layers: ["picture", "edges", "map"] });
  const drawn = () => {
    const { image } = put
      .filter(({ canvas }) => canvas.getAttribute("aria-label") === "Edges")
      .at(-1) as (typeof put)[0];
    return [...image.data.slice(0, 8)];
  };
  await rest();
  expect(drawn()).toEqual([42, 48, 54, 255, 0, 0, 0, 0]);
  const canvases = [...el.querySelectorAll("canvas")].map((one) => one.getAttribute("aria-label"));
  expect(canvases.indexOf("Edges")).toBeGreaterThan(canvases.indexOf("Distances"));
  model.set("layers", ["picture", "edges"]);
  await rest();
  expect(drawn()).toEqual([220, 225, 230, 255, 0, 0, 0, 0]);
  model.set("layers", ["picture", "edges", "map"]);
  model.set("opacity", 0);
  await rest();
  expect(drawn()).toEqual([220, 225, 230, 255, 0, 0, 0, 0]);
  stop();
});

it.each([
  [
    [Number.NaN, Number.NaN, Number.NaN, Number.NaN],
    0b11110000,
    {},
    "is not defined in any measured cell: nothing is predicted",
  ],
  [[Number.NaN, Number.NaN, Number.NaN, Number.NaN], 0b00010000, {}, "is not defined in any measured cell"],
  [
    [1 / 0, 1 / 0, 1 / 0, 1 / 0],
    0b11110000,
    { truthEmpty: true },
    "is infinite in every measured cell: something is predicted, and the truth is empty",
  ],
  [[1 / 0, Number.NaN, 1 / 0, 1 / 0], 0, {}, "has no finite value in any measured cell"],
])("a map without values, %s, says why", (values, oneEmpty, changes, why) => {
  const { _about, _map } = explorerState() as Record<string, object>;
  const { el, stop } = show({
    _about: { ..._about, ...changes },
    _map: { ..._map, values: doublesMessage(...values), oneEmpty: bits(oneEmpty) },
  });
  expect(el.querySelector(".hdm-scale p")?.textContent).toBe(`No colors, as the Hausdorff distance ${why}`);
  stop();
});

it("another measure is proposed in a line with a button", async () => {
  const _proposal = {
    measure: "iou",
    reason: "One of 12 objects of the truth decides 812 of 1,024 distances",
  };
  const { model, el, stop } = show({ _proposal: { ..._proposal, of: "truth", pixel: [9, 9] } });
  const line = el.querySelector(".hdm-proposal") as HTMLElement;
  // The object is outlined while the line is pointed at, or its button has the focus.
  for (const [target, over, out] of [
    [line, "pointerenter", "pointerleave"],
    [button(line, "Try 1 - IoU"), "focus", "blur"],
  ] as const) {
    target.dispatchEvent(new Event(over));
    await rest();
    expect(path(el, "changed")).toBe("M8 8H12M8 12H12M8 8V12M12 8V12");
    target.dispatchEvent(new Event(out));
    await rest();
    expect(path(el, "changed")).toBeUndefined();
  }
  expect(line.textContent).toBe("One of 12 objects of the truth decides 812 of 1,024 distances.Try 1 - IoU");
  button(line, "Try 1 - IoU").click();
  expect(model.state.measure).toBe("iou");
  model.set("_proposal", {});
  await rest();
  expect(el.querySelector(".hdm-proposal")).toBeNull();
  stop();
});

it("a map of areas has 0 in the middle of its bar", () => {
  const about = {
    ...(explorerState()._about as object),
    measure: "area",
    unit: "px²",
    signed: true,
    decimals: 0,
  };
  const map = { ...(explorerState()._map as object), values: doublesMessage(-40, 12, 3, 0), baseline: 3 };
  const { el, stop } = show({ _about: about, _map: map });
  const ticks = [...el.querySelectorAll(".hdm-ticks span")].map((one) => one.textContent);
  expect([ticks[0], ticks.at(-1)]).toEqual(["−40", "40 px²"]);
  expect(el.querySelector(".hdm-scale p")?.textContent).toBe(
    "Area of the mask less that of the truth when a disc covers this cell: less left of 0, more right of it",
  );
  stop();
});
