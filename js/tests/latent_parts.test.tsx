// @vitest-environment jsdom
// Toolbar, legend, table of clusters and list of selections, each as the notebook shows it.
import { describe, expect, it, vi } from "vitest";
import clusterTable from "../src/cluster_table";
import gallery from "../src/gallery";
import legend from "../src/legend";
import { GONE } from "../src/shared/traits";
import toolbar from "../src/toolbar";
import {
  button,
  choose,
  enabled,
  FakeModel,
  FakeResizeObserver,
  floatsMessage,
  intsMessage,
  nameless,
  pick,
  rest,
  show,
  shownItems,
  text,
  type Widget,
} from "./fake_model";
import { withRoom } from "./latent_page";

const addresses = withRoom();

const tools = () => ({
  mode: "replace",
  color_by: "iou",
  background: "expected_iou",
  colors: [
    ["iou", "IoU"],
    ["cluster", "Cluster"],
  ],
  color_as: "auto",
  color_modes: [],
  backgrounds: [
    ["expected_iou", "IoU by place"],
    ["none", "None"],
  ],
  points: "both",
  has_new: false,
  can_undo: true,
  count: 1234,
});

const scale = () => ({
  kind: "scale",
  title: "IoU",
  low: 0,
  high: 1,
  colors: ["#ff0000", "#0000ff"],
  missing: 0,
  missingLabel: "not defined",
});

const legendState = () => ({
  mode: "replace",
  background: "expected_iou",
  legend: scale() as object,
  search: "",
  surface: { colors: ["#ff0000", "#0000ff"], score: 0.456, learnedFrom: null } as object,
  total: 24,
  notice: "",
  names: [],
  new: {},
  _points: { positions: floatsMessage(), rows: intsMessage(), bounds: [0, 1, 0, 1] },
});

const row = (label: number, more: object = {}) => ({
  label,
  color: "#4477aa",
  size: 10 * (label + 1),
  mean: 0.5 + label / 10,
  median: 0.9 - label / 10,
  empty: 0.25 * label,
  count: 5,
  holds: `place ${label}`,
  ...more,
});

const clusters = () => ({
  rows: [row(2, { mean: 0.1 }), row(0), row(1, { mean: "nan", median: "nan" })],
  chosen: 0,
  n_clusters: 0,
  most: 5,
  about: "3 clusters (KMeans), silhouette 0.50",
  busy: "",
  error: "",
  failures: { state: "idle", error: "", about: "", rows: [] as object[] },
  failure: null,
  _thumbnails: [text("two"), text("zero"), text("one")],
});

const selection = (name: string, more: object = {}) => ({
  name,
  color: "#8b5cf6",
  count: 1234,
  mean: 0.5,
  median: "nan",
  ...more,
});

const lists = () => ({
  source: "map",
  new_count: 0,
  new_status: "idle",
  sort: "lowest IoU first",
  sorts: ["lowest IoU first"],
  layers: "three",
  size: 72,
  highlighted: null,
  selections: [selection("a"), selection("b", { count: 2 })],
  active: 0,
  can_explain: false,
  caption_by: "",
  captions_version: 1,
  suspects: { state: "idle", error: "" },
  with_reasons: false,
  _marked: intsMessage(),
  _about: { height: 1, width: 1, total: 9, full: true },
  _shown: shownItems([]),
  _saved: [],
});

const WIDGETS: [string, Widget<object>, () => Record<string, unknown>][] = [
  ["toolbar", toolbar, tools],
  ["legend", legend, legendState],
  ["table of clusters", clusterTable, clusters],
  ["gallery", gallery, lists],
];

describe.each(WIDGETS)("the %s", (_, widget, state) => {
  it("gives every control a name", () => {
    const { el, stop } = show(widget, new FakeModel(state()));
    expect(el.childElementCount).toBe(1);
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("leaves nothing behind when it goes, and two views end apart", async () => {
    const model = new FakeModel(state());
    const first = show(widget, model);
    const alone = model.listening;
    const second = show(widget, model);
    await rest();
    expect(model.listening).toBe(2 * alone);
    second.stop();
    expect(model.listening).toBe(alone);
    expect(second.el.childElementCount).toBe(0);
    expect(first.el.childElementCount).toBe(1);
    first.stop();
    expect(model.listening).toBe(0);
    await rest();
    expect(addresses().size).toBe(0);
    expect(FakeResizeObserver.all.size).toBe(0);
  });
});

describe("the toolbar", () => {
  it("changes traits by its controls and follows them from elsewhere", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    expect(el.querySelector("section")?.getAttribute("aria-label")).toBe("Map of 1,234 items");
    (el.querySelector("input[value=subtract]") as HTMLInputElement).click();
    choose(pick(el, "Color"), "cluster");
    choose(pick(el, "Background"), "none");
    expect([model.state.mode, model.state.color_by, model.state.background]).toEqual([
      "subtract",
      "cluster",
      "none",
    ]);
    expect(model.saved).toBe(3);
    model.set("mode", "add");
    model.set("color_by", "iou");
    await rest();
    expect((el.querySelector("input[value=add]") as HTMLInputElement).checked).toBe(true);
    expect(pick(el, "Color").value).toBe("iou");
    stop();
  });

  it("offers the ways to show a column where there are several", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    const labels = () => [...el.querySelectorAll(".hdm-pick label")].map((label) => label.textContent);
    expect(labels()).toEqual(["Color", "Background"]);
    model.set("color_modes", [
      ["scale", "Scale"],
      ["categories", "Categories"],
    ]);
    await rest();
    expect([...pick(el, "as").options].map((option) => option.textContent)).toEqual(["Scale", "Categories"]);
    expect(labels()).toEqual(["Color", "as", "Background"]);
    expect(pick(el, "as").value).toBe("scale"); // "auto" is the default, the first
    choose(pick(el, "as"), "categories");
    expect(model.state.color_as).toBe("categories");
    await rest();
    expect(pick(el, "as").value).toBe("categories");
    stop();
  });

  it("takes back only where there is something to take back", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    button(el, "Undo").click();
    button(el, "Clear").click();
    expect(model.asked()).toEqual([{ request: "undo" }, { request: "clear" }]);
    model.set("can_undo", false);
    await rest();
    expect(button(el, "Undo").disabled).toBe(true);
    stop();
  });

  it("saves the table that Python sends", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    const saved: { name: string; content: Blob | undefined }[] = [];
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
      saved.push({ name: this.download, content: addresses().get(this.href) });
    });
    button(el, "Export").click();
    const [request] = model.sent;
    expect(request.request).toBe("export");
    await model.reply(request, { name: "a.csv" }, [text("index,iou\n3,0.5\n")]);
    expect(saved.map(({ name }) => name)).toEqual(["a.csv"]);
    expect(saved[0].content?.type).toBe("text/csv");
    expect(saved[0].content?.size).toBe(16);
    expect(addresses().size).toBe(0);
    stop();
  });

  it("says why nothing can be saved until something else is asked for", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    const click = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => {});
    button(el, "Export").click();
    await model.reply(model.sent[0], { error: "Nothing is selected: there is nothing to export." });
    expect(el.querySelector("[role=alert]")?.textContent).toContain("Nothing is selected");
    button(el, "Undo").click();
    await model.reply(model.sent[1]);
    expect(el.querySelector("[role=alert]")).toBeNull();
    expect(click).not.toHaveBeenCalled();
    stop();
  });
});

describe.each(WIDGETS)("without a kernel the %s", (_, widget, state) => {
  it.each([
    ["from the beginning", true],
    ["any more", false],
  ])("has only controls that need no Python %s", async (_, before) => {
    const modes = [
      ["scale", "scale"],
      ["categories", "categories"],
    ];
    const model = new FakeModel({ ...state(), busy: "Comparing clusterings …" });
    if (widget === toolbar) model.state.color_modes = modes;
    if (before) model.disconnect();
    const { el, stop } = show(widget, model);
    if (!before) model.disconnect();
    await rest();
    const sorting = ["Cluster", "Items", "Mean IoU ↑", "Median IoU", "Empty truth"];
    expect(enabled(el)).toEqual(widget === clusterTable ? sorting : []);
    expect(nameless(el)).toEqual([]);
    for (const row of el.querySelectorAll<HTMLElement>("tbody tr")) row.click();
    expect(model.sent).toEqual([]);
    expect(el.querySelector("[aria-busy=true], .hdm-busy")).toBeNull();
    stop();
  });
});

describe("an explorer whose kernel was restarted", () => {
  it("does not wait for clusters", async () => {
    const model = new FakeModel({ ...clusters(), busy: "Comparing clusterings: 3 done …" });
    const { el, stop } = show(clusterTable, model);
    expect(el.querySelector("[role=status]")?.textContent).toBe("Comparing clusterings: 3 done …");
    model.disconnect();
    await rest();
    expect(el.querySelector("[role=status]")?.textContent).toBe("The search for clusters was not finished.");
    stop();
  });

  it("asks for no lasso where nothing is selected", async () => {
    const model = new FakeModel({ ...lists(), selections: [], active: null });
    const { el, stop } = show(gallery, model);
    expect(el.textContent).toContain("Draw a lasso");
    model.disconnect();
    await rest();
    expect(el.textContent).toBe("Nothing is selected.");
    stop();
  });

  it("says so, and answers what is asked at once", async () => {
    const model = new FakeModel(tools());
    const { el, stop } = show(toolbar, model);
    model.disconnect();
    await rest();
    expect(el.querySelector("[role=alert]")?.textContent).toBe(GONE);
    button(el, "Undo").click();
    await rest();
    expect(model.sent).toEqual([]);
    stop();
  });
});

describe("the legend", () => {
  const texts = (el: Element, selector: string) =>
    [...el.querySelectorAll(selector)].map((one) => one.textContent?.trim());

  it("has the ends of a scale, and what is not on it", async () => {
    const model = new FakeModel(legendState());
    const { el, stop } = show(legend, model);
    expect(texts(el, ".hdm-legend-row b")).toEqual(["IoU"]);
    expect(texts(el, ".hdm-number")).toEqual(["0", "1"]);
    expect(texts(el, ".hdm-chip-entry")).toEqual([]);
    model.set("legend", { ...scale(), low: -0.12345, high: 0.5, missing: 1200 });
    await rest();
    expect(texts(el, ".hdm-number")).toEqual(["-0.123", "0.5"]);
    expect(texts(el, ".hdm-chip-entry")).toEqual(["not defined 1,200"]);
    model.set("legend", { ...scale(), low: 3.2, high: 25000.7 });
    await rest();
    expect(texts(el, ".hdm-number")).toEqual(["3", "25,001"]);
    model.set("legend", { ...scale(), missing: 2, missingLabel: "missing" });
    await rest();
    expect(texts(el, ".hdm-chip-entry")).toEqual(["missing 2"]);
    stop();
  });

  it("has dates at the ends of a scale and round dates on it", async () => {
    const ticks = [
      { at: 0.25, label: "2020" },
      { at: 0.75, label: "2021" },
    ];
    const dates = { low: "2019-06-01", high: "2021-06-01", ticks };
    const model = new FakeModel({
      ...legendState(),
      legend: { ...scale(), low: 1.5e12, high: 1.6e12, dates },
    });
    const { el, stop } = show(legend, model);
    expect(texts(el, ".hdm-number")).toEqual(["2019-06-01", "2021-06-01"]);
    expect(texts(el, ".hdm-tick")).toEqual(["2020", "2021"]);
    const places = [...el.querySelectorAll<HTMLElement>(".hdm-tick")].map((tick) => tick.style.left);
    expect(places).toEqual(["25%", "75%"]);
    stop();
  });

  it("names categories with their colors and numbers of items, whatever they are called", async () => {
    const entries = [
      { color: "#112233", label: "town", count: 2000 },
      { color: "#445566", label: "missing", count: 3 },
      { color: "#66717f", label: "other (26)", count: 130 },
      { color: "#9aa4b2", label: "missing", count: 4 },
    ];
    const model = new FakeModel({
      ...legendState(),
      legend: { kind: "categories", title: "land use", entries },
    });
    const { el, stop } = show(legend, model);
    expect(texts(el, ".hdm-chip-entry")).toEqual(["town 2,000", "missing 3", "other (26) 130", "missing 4"]);
    expect((el.querySelector(".hdm-chip-entry i") as HTMLElement).style.background).toBe("rgb(17, 34, 51)");
    stop();
  });

  it("shortens a long name, not its number, and tells it whole to the pointer", () => {
    const label = "deciduous broadleaf forest with a canopy closed above two thirds".repeat(3);
    const entries = [{ color: "#112233", label, count: 2000 }];
    const model = new FakeModel({ ...legendState(), legend: { kind: "categories", title: label, entries } });
    const { el, stop } = show(legend, model);
    const [title, name] = el.querySelectorAll<HTMLElement>(".hdm-ellipsis");
    expect([title.textContent, title.title, name.textContent]).toEqual([label, label, label]);
    const chip = el.querySelector<HTMLElement>(".hdm-chip-entry");
    expect(chip?.title).toBe(`${label}: 2,000 items`);
    expect(chip?.lastElementChild?.textContent).toBe("2,000");
    expect(chip?.lastElementChild?.className).toBe("hdm-note");
    stop();
  });

  it("searches texts a moment after the last key, or at once with Enter", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const entries = [{ color: "#66717f", label: "other (60)", count: 60 }];
    const model = new FakeModel({ ...legendState(), legend: { kind: "search", title: "file", entries } });
    const { el, stop } = show(legend, model);
    const field = el.querySelector("input") as HTMLInputElement;
    expect(field.getAttribute("aria-label")).toBe("Search file");
    expect(texts(el, ".hdm-chip-entry")).toEqual(["other (60) 60"]);
    const type = (value: string) => {
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
    type("ti");
    vi.advanceTimersByTime(200);
    type("tile");
    vi.advanceTimersByTime(200);
    expect(model.state.search).toBe("");
    vi.advanceTimersByTime(60);
    expect([model.state.search, model.saved]).toEqual(["tile", 1]);
    type("tile_7");
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    vi.advanceTimersByTime(0);
    expect([model.state.search, model.saved]).toEqual(["tile_7", 2]);
    vi.useRealTimers();
    model.set("search", ""); // another column was chosen
    await rest();
    expect((el.querySelector("input") as HTMLInputElement).value).toBe("");
    stop();
  });

  it("tells what the background is, where there is one", async () => {
    const model = new FakeModel(legendState());
    const { el, stop } = show(legend, model);
    expect(el.textContent).toContain(
      "IoU by place, cross-validated R² 0.46. A picture of the map, not the estimate",
    );
    model.set("surface", { colors: ["#ff0000"], score: "nan", learnedFrom: 5000 });
    await rest();
    expect(el.textContent).toContain("IoU by place, learned from 5,000 items");
    expect(el.textContent).not.toContain("R²");
    model.set("background", "none");
    await rest();
    expect(el.textContent).not.toContain("Background");
    model.set("background", "expected_iou");
    model.set("surface", {});
    await rest();
    expect(el.textContent).not.toContain("Background");
    stop();
  });

  it("says what happened last", async () => {
    const model = new FakeModel(legendState());
    const { el, stop } = show(legend, model);
    model.set("notice", "There is no point inside this lasso.");
    await rest();
    expect(el.querySelector("[role=status]")?.textContent).toBe("There is no point inside this lasso.");
    stop();
  });
});

describe("the table of clusters", () => {
  const column = (el: Element, position: number) =>
    [...el.querySelectorAll("tbody tr")].map((tr) => tr.children[position].textContent?.trim());
  const labels = (el: Element) => [...el.querySelectorAll("tbody b")].map((b) => b.textContent);

  it("has a row for each, the lowest mean IoU first, with its own pictures", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    await rest();
    expect(labels(el)).toEqual(["2", "0", "1"]);
    expect(column(el, 1)).toEqual(["30", "10", "20"]);
    expect(column(el, 2)).toEqual(["0.10", "0.50", "–"]);
    expect(column(el, 3)).toEqual(["0.70", "0.90", "–"]);
    expect(column(el, 4)).toEqual(["50 %", "0 %", "25 %"]);
    expect([...el.querySelectorAll("tbody tr")].map((tr) => tr.className)).toEqual(["", "hdm-chosen", ""]);
    const pictures = [...el.querySelectorAll<HTMLImageElement>("tbody img")];
    expect(await Promise.all(pictures.map((one) => read(addresses().get(one.src))))).toEqual([
      "two",
      "zero",
      "one",
    ]);
    expect(el.querySelector("[role=status]")?.textContent).toBe("3 clusters (KMeans), silhouette 0.50");
    stop();
  });

  it("is sorted by any column, either way, and pictures go with their rows", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    const head = (name: string) =>
      [...el.querySelectorAll("th")].find((th) => th.textContent?.startsWith(name)) as HTMLElement;
    const sort = async (name: string) => {
      head(name).querySelector("button")?.click();
      await rest();
      return labels(el);
    };
    expect(await sort("Items")).toEqual(["0", "1", "2"]);
    expect(head("Items").getAttribute("aria-sort")).toBe("ascending");
    expect(head("Mean").getAttribute("aria-sort")).toBe("none");
    expect(await sort("Items")).toEqual(["2", "1", "0"]);
    expect(head("Items").getAttribute("aria-sort")).toBe("descending");
    expect(await sort("Empty")).toEqual(["0", "1", "2"]);
    const [first] = el.querySelectorAll<HTMLImageElement>("tbody img");
    expect(await read(addresses().get(first.src))).toBe("zero");
    stop();
  });

  it("has clusters without an IoU last, whichever way it is sorted", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    expect(labels(el)[2]).toBe("1");
    const [, , mean] = el.querySelectorAll<HTMLButtonElement>("th button");
    mean.click();
    await rest();
    expect(labels(el)).toEqual(["0", "2", "1"]);
    stop();
  });

  it("asks for a cluster's items once, by a click on its row or its name", () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    const [first, second] = el.querySelectorAll("tbody tr");
    (first.children[1] as HTMLElement).click();
    second.querySelector("button")?.click();
    expect(model.asked()).toEqual([
      { request: "choose", label: 2 },
      { request: "choose", label: 0 },
    ]);
    stop();
  });

  it("asks for as many clusters as are wished for, or the best found", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    const list = pick(el, "Number");
    expect([...list.options].map((option) => option.value)).toEqual(["0", "2", "3", "4", "5"]);
    expect(list.value).toBe("0");
    choose(list, "4");
    expect(model.asked()).toEqual([{ request: "cluster", count: 4 }]);
    model.set("n_clusters", 3); // as it may be asked for in Python
    await rest();
    expect(pick(el, "Number").value).toBe("3");
    choose(pick(el, "Number"), "0");
    expect(model.asked()).toEqual([{ request: "cluster", count: 0 }]);
    stop();
  });

  it("says why a request failed, until the next one succeeds", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    (el.querySelector("tbody tr") as HTMLElement).click();
    await model.reply(model.sent[0], { error: "there are clusters 0 to 1, got 2" });
    expect(el.querySelector("[role=alert]")?.textContent).toContain("there are clusters 0 to 1, got 2");
    (el.querySelector("tbody tr") as HTMLElement).click();
    await model.reply(model.sent[1]);
    expect(el.querySelector("[role=alert]")).toBeNull();
    stop();
  });

  it("says what is being done and what went wrong, with the rows from before", async () => {
    const model = new FakeModel(clusters());
    const { el, stop } = show(clusterTable, model);
    model.set("busy", "Comparing clusterings: 3 done …");
    await rest();
    expect(el.querySelector("[role=status]")?.textContent).toBe("Comparing clusterings: 3 done …");
    expect(el.querySelector("section")?.getAttribute("aria-busy")).toBe("true");
    model.set("busy", "");
    model.set("error", "too few items");
    await rest();
    expect(el.querySelector("[role=alert]")?.textContent).toContain("too few items");
    expect(labels(el)).toHaveLength(3);
    model.set("error", "");
    model.set("rows", []);
    await rest();
    expect(el.querySelector("table")).toBeNull();
    expect(el.querySelector("[role=alert]")).toBeNull();
    stop();
  });
});

describe("the list of selections", () => {
  const names = (el: Element) => [...el.querySelectorAll(".hdm-selections b")].map((b) => b.textContent);
  const chip = (el: Element, position: number) =>
    el.querySelectorAll<HTMLButtonElement>(".hdm-selection")[position];
  const menu = (el: Element, position: number) => el.querySelectorAll(".hdm-selections details")[position];

  /** The field for another name of a selection. */
  async function renaming(el: Element, position: number) {
    chip(el, position).dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    await rest();
    const field = el.querySelector(".hdm-name") as HTMLInputElement;
    expect(document.activeElement).toBe(field);
    return field;
  }
  const type = async (field: HTMLInputElement, name: string, key: string) => {
    field.value = name;
    field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await rest();
    // A browser tells a field that goes that it has lost the focus; jsdom does not.
    field.dispatchEvent(new FocusEvent("blur"));
    await rest();
  };

  it("has each with its figures, and which one is active", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    expect(chip(el, 0).textContent).toBe("a1,234 itemsmean IoU 0.50median –");
    expect([0, 1].map((i) => chip(el, i).getAttribute("aria-pressed"))).toEqual(["true", "false"]);
    chip(el, 1).click();
    expect(model.asked()).toEqual([{ request: "activate", position: 1 }]);
    model.set("active", 1);
    await rest();
    expect([0, 1].map((i) => chip(el, i).getAttribute("aria-pressed"))).toEqual(["false", "true"]);
    stop();
  });

  it("begins another one where one is active", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    button(el, "+ New selection").click();
    expect(model.asked()).toEqual([{ request: "begin" }]);
    model.set("active", null);
    await rest();
    expect(button(el, "The next lasso starts a new selection").disabled).toBe(true);
    stop();
  });

  it("combines another one with the active one, and removes either", () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    const entries = [...menu(el, 1).querySelectorAll("button")].map((one) => one.textContent);
    expect(entries).toEqual([
      "Rename",
      "Add to a",
      "Subtract from a",
      "Keep in a only what both have",
      "Remove",
    ]);
    expect([...menu(el, 0).querySelectorAll("button")].map((one) => one.textContent)).toEqual([
      "Rename",
      "Remove",
    ]);
    const details = menu(el, 1) as HTMLDetailsElement;
    for (const entry of ["Add to a", "Subtract from a", "Keep in a only what both have"]) {
      details.open = true;
      button(details, entry).click();
      expect(details.open).toBe(false);
    }
    button(menu(el, 0), "Remove").click();
    expect(model.asked()).toEqual([
      { request: "combine", position: 1, how: "union" },
      { request: "combine", position: 1, how: "difference" },
      { request: "combine", position: 1, how: "intersection" },
      { request: "remove", position: 0 },
    ]);
    stop();
  });

  it("renames by Enter, once", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    await type(await renaming(el, 1), "houses", "Enter");
    expect(model.asked()).toEqual([{ request: "rename", position: 1, name: "houses" }]);
    expect(el.querySelector(".hdm-name")).toBeNull();
    stop();
  });

  it("keeps the name by Escape", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    await type(await renaming(el, 1), "houses", "Escape");
    expect(model.asked()).toEqual([]);
    expect(names(el)).toEqual(["a", "b"]);
    stop();
  });

  it("renames when the field is left, but not to the same name", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    const field = await renaming(el, 0);
    field.value = "roads";
    field.dispatchEvent(new FocusEvent("blur"));
    await rest();
    expect(model.asked()).toEqual([{ request: "rename", position: 0, name: "roads" }]);
    await type(await renaming(el, 0), "a", "Enter");
    expect(model.asked()).toEqual([]);
    stop();
  });

  it("keeps what is being typed when something else changes", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    const field = await renaming(el, 0);
    field.value = "half a na";
    model.set("selections", [selection("a", { count: 5 }), selection("b")]);
    await rest();
    expect((el.querySelector(".hdm-name") as HTMLInputElement).value).toBe("half a na");
    stop();
  });

  it("says what Python refused until something else is done", async () => {
    const model = new FakeModel(lists());
    const { el, stop } = show(gallery, model);
    chip(el, 1).click();
    await model.reply(model.sent[0], { error: "there is a selection named 'a' already" });
    expect(el.querySelector("[role=alert]")?.textContent).toBe("there is a selection named 'a' already");
    chip(el, 1).click();
    await model.reply(model.sent[1]);
    expect(el.querySelector("[role=alert]")).toBeNull();
    stop();
  });

  it("closes a menu by Escape", () => {
    const { el, stop } = show(gallery, new FakeModel(lists()));
    const details = menu(el, 0) as HTMLDetailsElement;
    details.open = true;
    details
      .querySelector("button")
      ?.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect(details.open).toBe(false);
    stop();
  });
});

/** The text of a Blob, which jsdom's own does not give. */
const read = (blob: Blob | undefined) =>
  new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    if (blob) reader.readAsText(blob);
    else resolve(undefined);
  });
