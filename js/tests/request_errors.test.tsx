// @vitest-environment jsdom
// An error of a request stays on screen until that request succeeds, whatever else does.
import { describe, expect, it } from "vitest";
import { afterReply, newest, type RequestErrors } from "../src/latent/request_errors";
import newData from "../src/new_data";
import { button, FakeModel, rest, show } from "./fake_model";

describe("errors of requests", () => {
  it("are told newest first, each until its own request succeeds", () => {
    let errors: RequestErrors = [];
    const told = (request: string, text?: string | null) => {
      errors = afterReply(errors, request, text);
      return newest(errors);
    };
    expect(told("a", "1")).toBe("1");
    expect(told("b", null)).toBe("1");
    expect(told("b", "2")).toBe("2");
    expect(told("a", "3")).toBe("3");
    expect(told("a")).toBe("2");
    expect(told("b", "")).toBe("");
  });
});

// Two requests of a part: the one fails, the other succeeds.
const PARTS = [
  [
    "the panel of new data",
    newData,
    {
      state: "done",
      done: 40,
      total: 40,
      error: "",
      to_label: 20,
      findings: {
        count: 40,
        mean: 0.6,
        low: 0.5,
        high: 0.7,
        coverage: 0.9,
        mapMean: 0.7,
        reliable: 40,
        shift: "like the data of the map",
        shifted: false,
        skill: "",
        skilled: true,
        measured: {},
        columns: [],
      },
    },
    ["Save as CSV", "Show the 20 most doubtful"],
  ],
] as const;

describe.each(PARTS)("an error on %s", (_, widget, state, [fails, succeeds]) => {
  it("stays while another request succeeds, and goes when its own does", async () => {
    const model = new FakeModel({ ...state });
    const { el, stop } = show(widget, model);
    const ask = async (name: string, error: string | null) => {
      button(el, name).click();
      const [request] = model.sent.splice(0);
      await model.reply(request, { error }, []);
      await rest();
    };
    const told = () => el.querySelector("[role=alert]")?.textContent?.trim();
    await ask(fails, "the disk is full");
    expect(told()).toBe("the disk is full");
    await ask(succeeds, null);
    expect(told()).toBe("the disk is full");
    await ask(succeeds, "nothing to do");
    expect(told()).toBe("nothing to do");
    await ask(succeeds, null);
    expect(told()).toBe("the disk is full");
    await ask(fails, "");
    expect(told()).toBeUndefined();
    stop();
  });
});
