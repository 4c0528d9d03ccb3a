// What went wrong with requests: each error stays until its own request succeeds, whatever else does.
import { useState } from "preact/hooks";

/** The newest one last. */
export type RequestErrors = readonly (readonly [request: string, text: string])[];

/** The errors, with what a reply to a request says: an error, or that there is none any more. */
export function afterReply(errors: RequestErrors, request: string, text?: string | null): RequestErrors {
  const others = errors.filter(([other]) => other !== request);
  return text ? [...others, [request, text]] : others;
}

/** The error to show, empty where there is none. */
export const newest = (errors: RequestErrors) => errors.at(-1)?.[1] ?? "";

/** The error to show, and what takes the replies to requests. */
export function useRequestErrors() {
  const [errors, setErrors] = useState<RequestErrors>([]);
  const replied = (request: string, text?: string | null) =>
    setErrors((before) => afterReply(before, request, text));
  return [newest(errors), replied] as const;
}
