// What a scan was made with, where it cannot be changed.
import type { Channel } from "./python_state";
import type { ViewState } from "./view_state";

export function FixedSettings({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const { channels } = traits._about.value;
  const facts: [string, string][] = [
    ["Circle size", `${traits.circle_size.value} px`],
    ["Offset", `${traits.offset.value} px`],
  ];
  const fill = traits._fills.value.find(([name]) => name === traits.fill.value);
  if (fill) facts.push(["Fill", fill[1]]);
  if (traits.shape.value === "square") facts.push(["Shape", "square"]);
  if (channels > 1) facts.push(["Channel", channelName(traits.channel.value, channels)]);
  return (
    <div class="hdm-fixed">
      <dl>
        {facts.map(([name, value]) => (
          <div key={name} class="hdm-row">
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <p class="hdm-note">This page shows one scan: other settings need the model.</p>
    </div>
  );
}

function channelName(channel: Channel, channels: number): string {
  const name = (one: number) => (channels === 3 ? ["Red", "Green", "Blue"][one] : String(one));
  return channel === -1 ? "All" : [channel].flat().map(name).join(" + ");
}
