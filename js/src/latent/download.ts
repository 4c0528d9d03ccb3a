import { bytes } from "../shared/codec";

/** Save a table that Python has sent as a file. */
export function download(name: string, file: DataView | undefined) {
  if (!file) return;
  const address = URL.createObjectURL(new Blob([bytes(file)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
