import type {
  Browser,
  BrowserContext,
  BrowserContextOptions,
  CDPSession,
  Locator,
  Page,
} from 'playwright-core';

/** Somebody who looks at the page. */
export class Visit {
  readonly page: Page;
  /** What the page could not help: errors, and what its policy forbade. */
  readonly problems: string[] = [];
  readonly #context: BrowserContext;
  readonly #session: CDPSession;

  private constructor(context: BrowserContext, page: Page, session: CDPSession) {
    this.page = page;
    this.#context = context;
    this.#session = session;
    page.on('pageerror', (error) => this.problems.push(String(error.stack ?? error)));
    // The browser takes a moment to hand its dialogs over: from the beginning, so that none is missed.
    page.on('filechooser', () => {});
    page.on('console', (message) => {
      const text = message.text();
      // The browser's own word for a server that is away, or says no.
      if (message.type() === 'error' && !text.startsWith('Failed to load resource')) this.problems.push(text);
    });
  }

  static async start(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const visit = new Visit(context, page, await context.newCDPSession(page));
    await page.goto(url);
    return visit;
  }

  /** The page in another tab. */
  async another(url: string): Promise<Visit> {
    const page = await this.#context.newPage();
    const visit = new Visit(this.#context, page, await this.#context.newCDPSession(page));
    await page.goto(url);
    return visit;
  }

  /** How fast this page sends, from now on: its connections together. In bytes per second; 0 is no limit. */
  async limit(rate: number): Promise<void> {
    await this.#network(false, rate);
  }

  /** Without a network, as the browser sees it. */
  async offline(isOffline: boolean): Promise<void> {
    await this.#network(isOffline, 0);
  }

  /** How much the browser keeps for the page, in bytes. */
  async quota(bytes: number): Promise<void> {
    const { origin } = new URL(this.page.url());
    await this.#session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: bytes });
  }

  choose(...paths: string[]): Promise<void> {
    return this.page.setInputFiles('#files', paths);
  }

  row(name: string): Locator {
    return this.page.locator('.row', { has: this.page.getByText(name, { exact: true }) });
  }

  button(label: string): Locator {
    return this.page.getByRole('button', { name: label, exact: true });
  }

  /** Resolves when the row is in that state. */
  reach(name: string, phase: string): Promise<void> {
    const row = this.page.locator(`.row[data-phase="${phase}"]`);
    return row.filter({ has: this.page.getByText(name, { exact: true }) }).waitFor({ timeout: 30_000 });
  }

  percent(name: string): Promise<number> {
    return this.row(name)
      .locator('progress')
      .getAttribute('value', { timeout: 5_000 })
      .then((value) => Number(value ?? 0));
  }

  /** Resolves when so much of it, in percent, has been sent. */
  async pass(name: string, percent: number): Promise<void> {
    // Watched from within: the page's policy forbids what would be polled.
    await this.page.evaluate(`new Promise((resolve) => {
      const look = () => {
        const bars = [...document.querySelectorAll('progress')];
        const isPast = bars.some((bar) => bar.getAttribute('aria-label') === ${JSON.stringify(name)} && bar.value >= ${percent});
        if (isPast) resolve(observer.disconnect());
      };
      const observer = new MutationObserver(look);
      observer.observe(document, { subtree: true, childList: true, attributes: true });
      look();
    })`);
  }

  /** Chooses a file for one that lacks it. */
  async again(name: string, path: string): Promise<void> {
    const [chooser] = await Promise.all([
      this.page.waitForEvent('filechooser'),
      this.button(`Choose file ${name}`).click(),
    ]);
    await chooser.setFiles(path);
  }

  /** Where the link of one that is done leads. */
  async link(name: string): Promise<string> {
    const href = await this.row(name).locator('.open').getAttribute('href');
    return new URL(href ?? '', this.page.url()).href;
  }

  close(): Promise<void> {
    return this.#context.close();
  }

  async #network(offline: boolean, rate: number): Promise<void> {
    await this.#session.send('Network.emulateNetworkConditions', {
      offline,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: rate === 0 ? -1 : rate,
    });
  }
}
