/** Wakes a loop when something has happened since it last looked. */
export class Gate {
  #open: () => void = () => {};
  #opened: Promise<void> = Promise.resolve();

  constructor() {
    this.#renew();
  }

  open(): void {
    this.#open();
    this.#renew();
  }

  /** To be taken before looking: settles with the next `open`. */
  opened(): Promise<void> {
    return this.#opened;
  }

  /** Until then, or for `delayMs` where that is more than 0. */
  async wait(opened: Promise<void>, delayMs = 0): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    if (delayMs > 0) timer = setTimeout(() => this.open(), delayMs);
    await opened;
    clearTimeout(timer);
  }

  #renew(): void {
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }
}
