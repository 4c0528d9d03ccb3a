import { bytes } from "../shared/codec";

/** A table of ten million rows is written in minutes. */
export const EXPORT_PATIENCE = 1_800_000; // ms
const TYPES: Record<string, string> = { csv: "text/csv", json: "application/json", zip: "application/zip" };

/** Save what Python has sent as a file. */
export function download(name: string, file: DataView | undefined) {
  if (!file) return;
  const address = URL.createObjectURL(new Blob([bytes(file)], { type: TYPES[name.split(".").pop() ?? ""] }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
