// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tellOfView } from "../src/shared/presence";
import { FakeModel, FakeResizeObserver } from "./fake_model";

beforeEach(() => FakeResizeObserver.install());
afterEach(() => document.body.replaceChildren());

function view(model: FakeModel) {
  const el = document.createElement("div");
  return { el, end: tellOfView(model.as(), el) };
}

const page = (type: string, persisted = false) =>
  window.dispatchEvent(Object.assign(new Event(type), { persisted }));

describe("a view", () => {
  it("is told when it is first seen, and when it ends", () => {
    const model = new FakeModel({});
    const { el, end } = view(model);
    // Made, but not on the page: it may never get there.
    FakeResizeObserver.resize(0, 0);
    expect(model.views).toEqual([]);
    document.body.append(el);
    FakeResizeObserver.resize(100, 100);
    FakeResizeObserver.resize(200, 100);
    expect(model.views).toEqual(["shown"]);
    // A notebook may take what is not in sight from its page for a while.
    el.remove();
    FakeResizeObserver.resize(0, 0);
    expect(model.views).toEqual(["shown"]);
    end();
    expect(model.views).toEqual(["shown", "removed"]);
    page("pagehide");
    page("pageshow", true);
    expect(model.views).toEqual(["shown", "removed"]);
    expect(FakeResizeObserver.all.size).toBe(0);
  });

  it("that never was on the page is not told of", () => {
    const model = new FakeModel({});
    const { end } = view(model);
    page("pagehide");
    end();
    expect(model.views).toEqual([]);
  });

  it("is told of a page that is closed, and of one that comes back", () => {
    const model = new FakeModel({});
    const { el, end } = view(model);
    document.body.append(el);
    FakeResizeObserver.resize(100, 100);
    page("pagehide");
    expect(model.views).toEqual(["shown", "closed"]);
    page("pageshow");
    expect(model.views).toEqual(["shown", "closed"]);
    page("pageshow", true);
    expect(model.views).toEqual(["shown", "closed", "shown"]);
    end();
  });

  it("has an id of its own", () => {
    const model = new FakeModel({});
    const ids: unknown[] = [];
    model.send = ({ view }) => ids.push(view);
    for (const { el } of [view(model), view(model)]) document.body.append(el);
    FakeResizeObserver.resize(100, 100);
    expect(new Set(ids).size).toBe(2);
  });
});
