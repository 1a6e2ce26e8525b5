import { type PageElement, setText } from './dom.ts';

/** What happens within this time is said in one go. */
const gatherMs = 700;

/** Says things to those who cannot see the page, without interrupting them. */
export class Announcer {
  readonly #region: PageElement;
  #pending: string[] = [];
  #isDue = false;

  constructor(region: PageElement) {
    this.#region = region;
  }

  say(text: string): void {
    if (!this.#pending.includes(text)) this.#pending.push(text);
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      const text = this.#pending.join(' ');
      this.#pending = [];
      this.#isDue = false;
      // The same again would be no change, and not be said.
      if (this.#region.textContent === text) setText(this.#region, '');
      setText(this.#region, text);
    }, gatherMs);
  }
}
