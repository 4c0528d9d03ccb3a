import { afterEach, describe, expect, it, vi } from "vitest";
import { connect, EXPORTED, GONE, SILENT } from "../src/shared/traits";
import { FakeModel, rest } from "./fake_model";

interface Traits {
  mode: string;
  count: number;
}

afterEach(() => vi.useRealTimers());

const view = (model: FakeModel) => connect(model.as<Traits>(), ["mode", "count"], model.el);

describe("traits", () => {
  it("are signals that follow the model", () => {
    const model = new FakeModel({ mode: "add", count: 3 });
    const { traits } = view(model);
    const seen: string[] = [];
    const stop = traits.mode.subscribe((mode) => seen.push(mode));
    expect([traits.mode.value, traits.count.value]).toEqual(["add", 3]);
    model.set("mode", "replace");
    model.set("count", 4);
    expect(seen).toEqual(["add", "replace"]);
    expect(traits.count.value).toBe(4);
    stop();
  });

  it("are changed here and in Python by one message", () => {
    const model = new FakeModel({ mode: "add", count: 3 });
    const { traits, set } = view(model);
    set("mode", "subtract");
    expect(traits.mode.value).toBe("subtract");
    expect(model.state).toEqual({ mode: "subtract", count: 3 });
    expect(model.saved).toBe(1);
  });
});

describe("requests", () => {
  it("have an id, and are settled by the reply with the same one", async () => {
    const model = new FakeModel({});
    const { ask } = view(model);
    const settled: string[] = [];
    void ask("first").then((reply) => settled.push(`first ${reply.answer}`));
    void ask("second", { item: 7 }).then((reply) => settled.push(`second ${reply.answer}`));
    const [first, second] = model.sent;
    expect(first.id).not.toBe(second.id);
    expect([first, second]).toEqual([
      { request: "first", id: first.id },
      { request: "second", item: 7, id: second.id },
    ]);
    await rest();
    expect(settled).toEqual([]);
    await model.reply(second, { answer: 2 });
    await model.reply({ id: -5 }, { answer: 0 });
    expect(settled).toEqual(["second 2"]);
    await model.reply(first, { answer: 1 });
    await model.reply(first, { answer: 3 });
    expect(settled).toEqual(["second 2", "first 1"]);
  });

  it("are settled by an error too, and get the buffers", async () => {
    const model = new FakeModel({});
    const { ask } = view(model);
    const failed = ask("explain");
    const done = ask("pictures");
    const [first, second] = model.sent;
    const bytes = [new DataView(new ArrayBuffer(3))];
    void model.reply(first, { error: "no such item" });
    void model.reply(second, { pictures: [1] }, bytes);
    expect(await failed).toEqual({ id: first.id, error: "no such item", buffers: [] });
    expect(await done).toEqual({ id: second.id, error: null, pictures: [1], buffers: bytes });
  });

  it("cannot be named otherwise by what goes with them", () => {
    const model = new FakeModel({});
    void view(model).ask("rename", { request: "remove", id: 3, name: "b" });
    expect(model.sent[0]).toEqual({ request: "rename", id: expect.any(Number), name: "b" });
    expect(model.sent[0].id).not.toBe(3);
  });

  it("of two views do not mix", async () => {
    const model = new FakeModel({ mode: "add", count: 0 });
    const one = view(model);
    const other = view(model);
    const settled: string[] = [];
    void one.ask("undo").then(() => settled.push("one"));
    void other.ask("undo").then(() => settled.push("other"));
    const [first, second] = model.sent;
    expect(first.id).not.toBe(second.id);
    await model.reply(second);
    expect(settled).toEqual(["other"]);
    await model.reply(first);
    expect(settled).toEqual(["other", "one"]);
  });
});

describe("a request that Python does not answer", () => {
  it("is settled by an error after a while, once, and can be made again", async () => {
    vi.useFakeTimers();
    const model = new FakeModel({});
    const { ask } = view(model);
    const replies: (string | null)[] = [];
    const note = ({ error }: { error: string | null }) => replies.push(error);
    void ask("undo").then(note);
    await vi.advanceTimersByTimeAsync(59_999);
    expect(replies).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(replies).toEqual([SILENT]);
    const [late] = model.sent;
    model.tell("msg:custom", { id: late.id, error: null }, []);
    void ask("undo").then(note);
    model.tell("msg:custom", { id: model.sent[1].id, error: null }, []);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(replies).toEqual([SILENT, null]);
  });

  it("may wait for longer or shorter", async () => {
    vi.useFakeTimers();
    const model = new FakeModel({});
    const { ask } = view(model);
    const replies: string[] = [];
    void ask("one", {}, 10).then(() => replies.push("one"));
    void ask("two", {}, 2 ** 31 - 1).then(() => replies.push("two"));
    await vi.advanceTimersByTimeAsync(100_000);
    expect(replies).toEqual(["one"]);
  });

  it("is settled at once when the kernel is restarted, and so are all that follow", async () => {
    const model = new FakeModel({ count: 3 });
    const { ask, gone } = view(model);
    const before = ask("undo");
    expect(gone.value).toBe("");
    model.disconnect();
    expect(gone.value).toBe(GONE);
    expect((await before).error).toBe(GONE);
    expect((await ask("clear")).error).toBe(GONE);
    expect(model.asked()).toEqual([{ request: "undo" }]);
    // The widget manager may connect anew.
    model.tell("msg:custom", { id: -1 }, []);
    expect(gone.value).toBe("");
  });

  it.each(["restarting", "autorestarting", "terminating", "dead", undefined])(
    "is settled at once when the kernel says %s",
    async (status) => {
      const listeners = new Set<(kernel: unknown, status?: string) => void>();
      const event = {
        connect: (listener: () => void) => listeners.add(listener),
        disconnect: (listener: () => void) => listeners.delete(listener),
      };
      const model = new FakeModel({ count: 3 });
      model.widget_manager = { kernel: status ? { statusChanged: event } : { disposed: event } };
      const { ask, gone, dispose } = view(model);
      const before = ask("undo");
      const tell = (status?: string) => {
        for (const listener of listeners) listener({}, status);
      };
      for (const harmless of ["busy", "idle", "starting", "unknown"]) tell(harmless);
      expect(gone.value).toBe("");
      tell(status);
      expect(gone.value).toBe(GONE);
      expect((await before).error).toBe(GONE);
      dispose();
      expect(listeners.size).toBe(0);
    },
  );

  it.each([
    ["a notebook without a kernel", { kernel: null }, GONE],
    ["an exported page", {}, EXPORTED],
    ["a page whose manager is not told", undefined, EXPORTED],
  ])("is not sent on %s, where there never was one", async (_, manager, why) => {
    const model = new FakeModel({ count: 3 });
    model.widget_manager = manager as object;
    model.disconnect();
    const { ask, gone } = view(model);
    expect(gone.value).toBe(why);
    expect((await ask("undo")).error).toBe(why);
    expect(model.sent).toEqual([]);
  });
});

describe("the end of a view", () => {
  it("takes every listener off with the callback that was put on", () => {
    const model = new FakeModel({ mode: "add", count: 3 });
    const one = view(model);
    expect([...model.listeners.keys()].sort()).toEqual([
      "change:count",
      "change:mode",
      "comm_live_update",
      "msg:custom",
    ]);
    const other = view(model);
    expect(model.listening).toBe(8);
    one.dispose();
    expect(model.listening).toBe(4);
    model.set("count", 9);
    expect([one.traits.count.value, other.traits.count.value]).toEqual([3, 9]);
    other.dispose();
    expect(model.listening).toBe(0);
  });

  it("answers what it asked for, once", async () => {
    const model = new FakeModel({});
    const python = view(model);
    const asked = python.ask("undo");
    python.dispose();
    await model.reply(model.sent[0], { answer: 1 });
    expect(await asked).toEqual({ id: model.sent[0].id, error: "This view was closed.", buffers: [] });
  });
});
