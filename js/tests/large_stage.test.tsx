// @vitest-environment jsdom
// The stage of a large image: outlines of what is in view, and objects that Python finds.
import { expect, it } from "vitest";
import { bits, explorerState } from "./explorer_state";
import { rest } from "./fake_model";
import { onStage, packed, path, said, show } from "./two_masks";

onStage();

/** The image of 64 x 64 px, of whose masks each pixel stands for 4 x 4. */
async function large(changes: Record<string, unknown> = {}) {
  const shown = show({
    ...{ circle_size: 4, offset: 16, _scanned: { circleSize: 4, offset: 16, channel: -1 } },
    _about: { ...(explorerState()._about as object), height: 64, width: 64, step: 4, masks: 1 },
    ...changes,
  });
  const { model } = shown;
  const asked = (request: string) => model.sent.filter((one) => one.request === request);
  const answer = async (request: string, more: object, ...buffers: DataView[]) => {
    const last = asked(request).at(-1) as Record<string, unknown>;
    await model.reply(last, more, buffers);
    await rest();
    await rest();
  };
  await rest();
  return { ...shown, asked, answer };
}

const object = (row: number, col: number, more: object = {}) => ({
  pixel: [row, col],
  ...{ top: 4, left: 4, height: 2, width: 3, step: 1, pixels: 5, x: 5.5, y: 5 },
  ...more,
});

it("draws the outlines of what is in view as soon as Python has sent them, and the first ones until then", async () => {
  const { model, el, asked, answer, stop } = await large({ layers: ["truth", "prediction"] });
  expect(path(el, "truth")).toMatch(/^M4 4H20/);
  expect(asked("masks")).toMatchObject([{ top: 0, left: 0, height: 64, width: 64, level: 0 }]);
  const mask = new Uint8Array(512);
  mask[8 * 5] = 0b01100000;
  await answer("masks", { names: ["truth"] }, new DataView(mask.buffer));
  expect(path(el, "truth")).toBe("M1 5H3M1 6H3M1 5V6M3 5V6");
  // Of the other mask nothing came.
  expect(path(el, "prediction")).toMatch(/^M40 4H56M4 8H20/);
  model.set("_about", { ...(model.state._about as object), masks: 2 });
  await rest();
  expect(path(el, "truth")).toMatch(/^M4 4H20/);
  expect(asked("masks")).toHaveLength(2);
  stop();
});

it("draws the object under the pointer in the image's own pixels, and chooses it by the one under it", async () => {
  const { model, el, mouse, choose, asked, answer, stop } = await large();
  await choose("Object");
  // The stage is 16 px wide: a pixel there is 4 of the image. Where no mask has a pixel, nobody is asked.
  await mouse("pointermove", 15, 15);
  expect(asked("objects")).toEqual([]);
  await mouse("pointermove", 1, 1);
  expect(asked("objects")).toMatchObject([{ of: "truth", places: [[6, 6, 1]] }]);
  expect(said(el)).toContain("no object");
  await answer("objects", { objects: [object(6, 6)] }, bits(0b11111000));
  expect(path(el, "object")).toBe("M4 4H7M6 5H7M4 6H6M4 4V6M6 5V6M7 4V5");
  expect(said(el)).toContain("object of 5 px");
  await mouse("click", 1, 1);
  await rest();
  expect([model.state.explain_by, model.state.object]).toEqual(["truth", [6, 6]]);
  stop();
});

it("asks the other mask where what is explained has no object at the pixel", async () => {
  const { model, el, mouse, choose, asked, answer, stop } = await large({
    _prediction: packed([1, 1, 4, 5]),
  });
  await choose("Object");
  mouse("click", 1, 1);
  await rest();
  // Both masks have pixels near, in pixels of 4 x 4: Python knows which have this one.
  expect(asked("objects")).toMatchObject([{ of: "truth" }]);
  const first = asked("objects")[0] as unknown as Record<string, unknown>;
  await model.reply(first, { objects: [null] });
  await rest();
  await rest();
  expect(asked("objects")[1]).toMatchObject({ of: "prediction", places: [[6, 6, 1]] });
  await answer("objects", { objects: [object(6, 6)] }, bits(0b11111000));
  await rest();
  expect([model.state.explain_by, model.state.object]).toEqual(["prediction", [6, 6]]);
  expect(el.querySelector(".hdm-tools [role=status]")?.textContent).toContain("it is explained now");
  stop();
});

it("forgets objects when the masks are others", async () => {
  const { model, el, mouse, choose, answer, asked, stop } = await large();
  await choose("Object");
  await mouse("pointermove", 1, 1);
  await answer("objects", { objects: [object(6, 6)] }, bits(0b11111000));
  expect(path(el, "object")).toBeTruthy();
  model.set("_about", { ...(model.state._about as object), masks: 2 });
  await rest();
  await mouse("pointermove", 1, 1.1);
  expect(path(el, "object")).toBeUndefined();
  expect(asked("objects")).toHaveLength(2);
  stop();
});
