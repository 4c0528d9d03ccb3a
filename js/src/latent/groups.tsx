// The tables of groups below the map, one at a time: the clusters, or where the model fails.
import { useState } from "preact/hooks";
import type { Python } from "../shared/traits";
import { Clusters } from "./clusters";
import { Failures } from "./failures";
import type { ClusterTraits } from "./python_state";

type Tab = "clusters" | "failures";
const TABS: [Tab, string][] = [
  ["clusters", "Clusters"],
  ["failures", "Where it fails"],
];

export function Groups({ python }: { python: Python<ClusterTraits> }) {
  const [tab, setTab] = useState<Tab>("clusters");
  // Without Python, failures are there only if they have been looked for.
  const fixed = python.gone.value !== "" && python.traits.failures.value.state !== "done";
  const tabs = TABS.map(([name, text]) => (
    <h3 key={name} class="hdm-tab">
      <button
        type="button"
        aria-pressed={tab === name}
        title={fixed && name === "failures" ? "Failures were not looked for" : undefined}
        disabled={fixed}
        onClick={() => setTab(name)}
      >
        {text}
      </button>
    </h3>
  ));
  return tab === "clusters" ? (
    <Clusters python={python} tabs={tabs} />
  ) : (
    <Failures python={python} tabs={tabs} />
  );
}
