// The objects of a large image's masks, which Python finds on the masks in the image's own size.
import { effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { unpackBits } from "../shared/codec";
import { type Cell, center, type Grid, outline, radius } from "../shared/geometry";
import { coarsePixel, maskGrid, placed, scaledPoint, stepOf } from "./large";
import type { PythonState } from "./python_state";
import { type FoundObject, nearestPixel } from "./region";

/** As Python tells an object. */
interface Told {
  pixel: [row: number, col: number];
  top: number;
  left: number;
  height: number;
  width: number;
  step: number;
  pixels: number;
  x: number;
  y: number;
}

interface Known extends FoundObject {
  told: Told;
}

/** `side`: an object that has one of so many times so many pixels from there on. */
type Place = [row: number, col: number, side: number];

export interface LargeObjects {
  /**
   * The object at a place; null where there is none, and until Python has answered, which changes what was read.
   *
   * `passing`: nobody waits for it any more once another one is asked for.
   */
  find(of: string, place: Place, passing?: boolean): Known | null;
  /** The object that a cell's disc touches, in the pixel of the first masks nearest to its center. */
  near(of: string, cell: Cell): Known | null;
  /** What is found when Python has answered all that it is asked for by that. */
  settled<T>(find: () => T): Promise<T>;
  dispose(): void;
}

/** `sent` has the first masks, set where any pixel is. */
export function largeObjects(
  python: PythonState,
  grid: ReadonlySignal<Grid>,
  sent: (of: string) => Uint8Array,
): LargeObjects {
  const { _about, shape } = python.traits;
  /** By what was asked. */
  const answers: Signal<Map<string, Known | null>> = signal(new Map());
  let waiting: { of: string; place: Place; passing: boolean }[] = [];
  const asked = new Set<string>();
  let version: number | undefined;
  let [running, ended]: [Promise<void> | null, boolean] = [null, false];
  let exact = false;
  const keyOf = (of: string, place: Place) => `${of} ${place}`;

  const get = async (of: string, places: Place[]) => {
    const { masks } = _about.value;
    const { error, buffers, objects } = await python.ask("objects", { of, places });
    if (error || ended || masks !== _about.value.masks) return;
    const found = new Map(answers.value);
    let at = 0;
    (objects as (Told | null)[]).forEach((told, index) => {
      let one: Known | null = null;
      if (told) {
        const [height, width] = [told.height, told.width].map((length) => Math.ceil(length / told.step));
        const mask = unpackBits(buffers[at++], height * width);
        const path = placed(outline(mask, height, width), told.step, told.top, told.left);
        one = {
          of,
          mask,
          path,
          pixels: told.pixels,
          pixel: told.pixel,
          middle: { x: told.x, y: told.y },
          told,
        };
      }
      found.set(keyOf(of, places[index]), one);
    });
    answers.value = found;
  };
  const run = async () => {
    // What is asked for at once is one request.
    await null;
    while (waiting.length && !ended) {
      const { of } = waiting[0];
      const places = waiting.filter((one) => one.of === of).map(({ place }) => place);
      waiting = waiting.filter((one) => one.of !== of);
      await get(of, places);
    }
    running = null;
  };
  const stop = effect(() => {
    // Other masks have other objects.
    if (_about.value.masks !== version) {
      version = _about.value.masks;
      asked.clear();
      answers.value = new Map();
    }
  });
  const has = ({ told, mask }: Known, [row, col]: Place) => {
    const [y, x] = [row, col].map((at, axis) => Math.floor((at - (axis ? told.left : told.top)) / told.step));
    const width = Math.ceil(told.width / told.step);
    return y >= 0 && x >= 0 && x < width && mask[y * width + x] === 1;
  };
  const objects: LargeObjects = {
    find(of, place, passing = false) {
      const key = keyOf(of, place);
      const answer = answers.value.get(key);
      if (answer !== undefined) return answer;
      for (const one of answers.value.values()) {
        // Others may lie in the pixels of a mask at a halved size.
        if (one?.of === of && (!exact || one.told.step === 1) && has(one, place))
          return { ...one, pixel: [place[0], place[1]] };
      }
      const [y, x] = coarsePixel(place[0], place[1], _about.value);
      if (!sent(of)[y * maskGrid(_about.value).width + x] || asked.has(key)) return null;
      if (passing) {
        for (const one of waiting) if (one.passing) asked.delete(keyOf(one.of, one.place));
        waiting = waiting.filter((one) => !one.passing || one.of !== of);
      }
      asked.add(key);
      waiting.push({ of, place, passing });
      running ??= run();
      return null;
    },
    near(of, cell) {
      const step = stepOf(_about.value);
      const middle = scaledPoint(center(grid.value, cell), 1 / step);
      const square = shape.value === "square";
      const pixel = nearestPixel(sent(of), maskGrid(_about.value), middle, radius(grid.value) / step, square);
      return pixel && objects.find(of, [pixel[0] * step, pixel[1] * step, step]);
    },
    async settled(find) {
      const look = () => {
        exact = true;
        const found = find();
        exact = false;
        return found;
      };
      look();
      // What is explained may not be there: then the other mask is asked.
      for (let runs = 0; running && runs < 3; runs++) {
        await running;
        look();
      }
      return look();
    },
    dispose() {
      ended = true;
      stop();
    },
  };
  return objects;
}
