import type { Announcer } from './announcer.ts';
import { type PageElement, page, setText } from './dom.ts';
import type { Item } from './item.ts';

/** A server that is away for less is not worth a word. */
const patienceMs = 1_000;

/** Says that the server, or the network, is away, and when it is back. */
export class ServerWatch {
  readonly #banner: PageElement;
  readonly #announcer: Announcer;
  #items: readonly Item[] = [];
  #awaySince: number | undefined;
  #isTold = false;

  constructor(banner: PageElement, announcer: Announcer) {
    this.#banner = banner;
    this.#announcer = announcer;
    page.addEventListener('online', () => this.#update());
    page.addEventListener('offline', () => this.#update());
  }

  look(items: readonly Item[]): void {
    this.#items = items;
    this.#update();
  }

  #update(): void {
    const isWaiting = this.#items.some(({ phase }) => phase === 'away');
    const isOffline = !page.navigator.onLine;
    if (!isWaiting && !isOffline) {
      this.#awaySince = undefined;
      if (this.#isTold) this.#announcer.say('The server answers again.');
      this.#isTold = false;
      this.#banner.hidden = true;
      return;
    }
    if (this.#awaySince === undefined) {
      this.#awaySince = performance.now();
      setTimeout(() => this.#update(), patienceMs);
    }
    if (performance.now() - this.#awaySince < patienceMs && !this.#isTold) return;
    const text = isOffline
      ? 'You are offline. Uploads go on by themselves when you are back.'
      : 'Waiting for the server. Uploads go on by themselves when it answers.';
    setText(this.#banner, text);
    this.#banner.hidden = false;
    if (!this.#isTold) this.#announcer.say(text);
    this.#isTold = true;
  }
}
