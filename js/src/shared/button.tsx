import type { ButtonHTMLAttributes } from "preact";

/** A button with a frame; one that sends no form. */
export const Button = (props: ButtonHTMLAttributes<HTMLButtonElement>) => (
  <button type="button" class="hdm-button" {...props} />
);
