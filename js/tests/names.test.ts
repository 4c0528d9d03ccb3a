// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { arrange, showNames } from "../src/latent/names";
import type { LegendTraits } from "../src/latent/python_state";
import { connect } from "../src/shared/traits";
import { FakeModel, FakeResizeObserver, rest } from "./fake_model";

const PLOT = { width: 200, height: 100 };
const line = (width: number, height = 10) => ({ width, height });

describe("names are arranged", () => {
  it("above the middle of their points", () => {
    expect(arrange([{ x: 0.5, y: 0.6 }], [line(40)], PLOT)).toEqual([{ left: 80, top: 47 }]);
  });

  it.each([
    ["left", 0.02, 0.5, 0, 37],
    ["right", 0.97, 0.5, 160, 37],
    ["top", 0.5, 0.05, 80, 0],
    ["bottom", 0.5, 1.4, 80, 90],
  ])("within the map at its %s edge", (_, x, y, left, top) => {
    expect(arrange([{ x, y }], [line(40)], PLOT)).toEqual([{ left, top }]);
  });

  it("from the left edge where they are wider than the map", () => {
    expect(arrange([{ x: 0.9, y: 0.5 }], [line(300)], PLOT)).toEqual([{ left: 0, top: 37 }]);
  });

  it("below the buttons over the map", () => {
    const buttons = { left: 130, top: 4, width: 66, height: 20 };
    expect(arrange([{ x: 1, y: 0 }], [line(40)], PLOT, [buttons])).toEqual([{ left: 160, top: 24 }]);
    expect(arrange([{ x: 0.2, y: 0 }], [line(40)], PLOT, [buttons])).toEqual([{ left: 20, top: 0 }]);
  });

  it("beside each other, with the least way to go", () => {
    const names = [0.5, 0.52, 0.46].map((y) => ({ x: 0.5, y }));
    expect(arrange(names, [line(40), line(60), line(20)], PLOT).map(({ top }) => top)).toEqual([37, 47, 27]);
    // There is no room above.
    expect(
      arrange(
        [names[0], names[2]].map((one) => ({ ...one, y: 0.1 })),
        [line(40), line(40)],
        PLOT,
      ).map(({ top }) => top),
    ).toEqual([0, 10]);
    // Those to the left and right are not in the way.
    const row = [0.1, 0.35, 0.6].map((x) => ({ x, y: 0.5 }));
    expect(arrange(row, [line(40), line(40), line(40)], PLOT).map(({ top }) => top)).toEqual([37, 37, 37]);
  });

  it("one over the other on a map that is full", () => {
    const names = Array.from({ length: 12 }, () => ({ x: 0.5, y: 0.5 }));
    const tops = arrange(
      names,
      names.map(() => line(40)),
      PLOT,
    ).map(({ top }) => top);
    // 37 px above and 53 px below the first: three and five lines.
    expect(new Set(tops).size).toBe(9);
    expect(Math.min(...tops)).toBe(7);
    expect(Math.max(...tops)).toBe(87);
  });
});

const PER_LETTER = 7; // px
let perLetter = PER_LETTER;
beforeEach(() => {
  perLetter = PER_LETTER;
  FakeResizeObserver.install();
  vi.spyOn(Element.prototype, "getBoundingClientRect").mockImplementation(function (this: Element) {
    const at = (x: number, y: number, width: number, height: number) => new DOMRect(x, y, width, height);
    if (this.matches(".hdm-latent-plot")) return at(30, 400, 274, 166);
    if (this.matches(".plotarea_background")) {
      return at(90, 414, Number(this.getAttribute("width")), Number(this.getAttribute("height")));
    }
    return at(0, 0, perLetter * (this.textContent ?? "").length, 10);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  document.body.replaceChildren();
});

const ROOFS = { text: "roofs", color: "#123456", x: 0.5, y: 0.5 };
const TREES = { text: "many trees", color: "#ff0000", x: 0, y: 0.1 };

/** The explorer of a page on which bqplot has drawn nothing yet. */
function page(names = [ROOFS, TREES]) {
  document.body.innerHTML =
    '<div class="hdm-latent"><div class="hdm-latent-plot"><div class="bqplot"></div><div class="legend"></div></div></div>';
  const one = (selector: string) => document.querySelector(selector) as HTMLElement;
  const model = new FakeModel({ names });
  const python = connect(model.as<LegendTraits>(), ["names"], model.el);
  const leave = showNames(one(".legend"), python);
  FakeResizeObserver.resize(274, 40);
  const draw = (width: number, height: number) => {
    one(".bqplot").innerHTML =
      `<svg><rect class="plotarea_background" width="${width}" height="${height}"></rect></svg>`;
  };
  return { one, model, python, leave, draw };
}

const labels = () => [...document.querySelectorAll<HTMLElement>(".hdm-map-name")];
const layer = () => document.querySelector(".hdm-map-names") as HTMLElement;
const places = () => labels().map(({ style }) => [style.left, style.top]);

describe("the names on the map", () => {
  it("are there when bqplot has drawn the plot, by their measured width", async () => {
    const { draw } = page();
    expect(layer().hidden).toBe(true);
    draw(200, 100);
    await rest();
    expect(layer().hidden).toBe(false);
    expect(labels().map((label) => label.textContent)).toEqual(["roofs", "many trees"]);
    expect(labels().map((label) => label.style.borderColor)).toEqual(["rgb(18, 52, 86)", "rgb(255, 0, 0)"]);
    const { left, top, width, height } = layer().style;
    expect([left, top, width, height]).toEqual(["60px", "14px", "200px", "100px"]);
    // The first is 35 px wide, the second would begin outside.
    expect(places()).toEqual([
      [`${100 - 17.5}px`, `${50 - 13}px`],
      ["0px", "0px"],
    ]);
  });

  it("follow the plot's size, the width of the letters, and Python", async () => {
    const { draw, one, model } = page();
    draw(200, 100);
    await rest();
    one("rect").setAttribute("width", "120");
    await rest();
    expect(places()[0][0]).toBe(`${60 - 17.5}px`);
    expect(layer().style.width).toBe("120px");

    perLetter = 10;
    FakeResizeObserver.resize(1, 1);
    expect(places()[0][0]).toBe(`${60 - 25}px`);

    model.set("names", [{ ...TREES, x: 1 }]);
    expect(labels().map((label) => label.textContent)).toEqual(["many trees"]);
    expect(places()).toEqual([["20px", "0px"]]);
    // What was shown before is watched no more.
    expect([...FakeResizeObserver.all].flatMap((one) => [...one.elements])).toEqual(labels());

    model.set("names", []);
    expect(labels()).toEqual([]);
  });

  it("go with the explorer", async () => {
    const { draw, one, leave, python, model } = page();
    draw(200, 100);
    leave();
    python.dispose();
    await rest();
    expect(layer()).toBeNull();
    expect(FakeResizeObserver.all.size).toBe(0);
    expect(model.listening).toBe(0);
    one("rect").setAttribute("width", "120");
    model.set("names", [ROOFS]);
    await rest();
    expect(labels()).toEqual([]);
  });
});
