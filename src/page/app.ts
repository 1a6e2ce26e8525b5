import { isUploadError } from '../errors.ts';
import { Announcer } from './announcer.ts';
import { find, type InputElement, page, setText } from './dom.ts';
import { takeFiles } from './intake.ts';
import type { Added, Item, Uploader } from './item.ts';
import { List } from './list.ts';
import { ServerWatch } from './server-watch.ts';
import { UnkeptUploads } from './unkept.ts';
import { Uploads } from './uploads.ts';

// What runs in the page that `serve` shows. Everything of an upload is the client's; this is what people see of it.

class App {
  readonly #announcer = new Announcer(find('#status'));
  readonly #notice = find('#notice');
  readonly #again = find<InputElement>('#again');
  readonly #watch = new ServerWatch(find('#banner'), this.#announcer);
  readonly #list = new List({
    pause: ({ id }) => this.#do(this.#uploads.pause(id)),
    resume: (item) => this.#do(this.#resume(item)),
    remove: (item) => this.#do(this.#remove(item)),
    copyLink: (item) => this.#do(this.#copyLink(item)),
    clear: (items) => this.#do(this.#clear(items)),
  });
  readonly #uploads: Uploader;
  /** The one that has to be chosen again. */
  #lacking: Item | undefined;
  #isFirst = true;

  constructor() {
    this.#uploads = uploader((items) => this.#show(items));
    takeFiles({
      onFiles: (files) => this.#do(this.#add(files)),
      onFolder: () =>
        this.#tell('A folder cannot be uploaded as it is: choose the files in it, or make an archive.'),
    });
    this.#again.addEventListener('change', () => this.#do(this.#chosenAgain()));
    page.addEventListener('online', () => this.#uploads.retryNow());
    this.#do(this.#uploads.start());
  }

  #show(items: readonly Item[]): void {
    for (const { before, now } of this.#list.show(items)) this.#announce(before, now);
    this.#watch.look(items);
    if (!this.#isFirst) return;
    this.#isFirst = false;
    const going = items.filter(
      ({ phase }) => phase === 'queued' || phase === 'asking' || phase === 'sending',
    );
    if (going.length > 0) this.#announcer.say(`${files(going.length)} going on where the upload was.`);
  }

  /** Not what moves: what has become another state, by the user's doing or not. */
  #announce(before: Item, { name, phase, problem }: Item): void {
    if (phase === 'done') this.#announcer.say(`${name} is uploaded.`);
    else if (phase === 'failed') this.#announcer.say(`${name} failed: ${problem}.`);
    else if (phase === 'paused') this.#announcer.say(`${name} is paused.`);
    else if (phase === 'lacking') this.#announcer.say(`${name} has to be chosen again to go on.`);
    else if (before.phase === 'paused' || before.phase === 'failed' || before.phase === 'lacking')
      this.#announcer.say(`${name} goes on.`);
  }

  async #add(files: readonly File[]): Promise<void> {
    this.#setNotice('');
    const outcomes = await Promise.all(
      files.map(async (file) => ({ name: file.name, added: await this.#addOne(file) })),
    );
    this.#tellAdded(outcomes);
  }

  /** One that cannot be read does not keep the others away. */
  #addOne(file: File): Promise<Added | undefined> {
    return this.#uploads.add(file).catch((error: unknown) => {
      console.warn(error);
      this.#tell(`${file.name} could not be read: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    });
  }

  #tellAdded(outcomes: readonly { readonly name: string; readonly added: Added | undefined }[]): void {
    const added = outcomes.filter((outcome) => outcome.added === 'new').length;
    if (added > 0) this.#announcer.say(`${files(added)} added.`);
    const known = outcomes.filter((outcome) => outcome.added === 'known' || outcome.added === 'done');
    const [first] = known;
    if (first === undefined) return;
    if (known.length > 1)
      this.#tell(`${files(known.length)} were in the list already and are not sent again.`);
    else if (first.added === 'done') this.#tell(`${first.name} is uploaded already and is not sent again.`);
    else this.#tell(`${first.name} is in the list already and is not sent twice.`);
  }

  async #resume(item: Item): Promise<void> {
    // A browser opens a dialog for what was just clicked, not for what is found out later.
    if (item.phase !== 'lacking' && (await this.#uploads.resume(item.id))) return;
    this.#lacking = item;
    this.#again.click();
  }

  async #chosenAgain(): Promise<void> {
    const [file] = Array.from(this.#again.files ?? []);
    this.#again.value = '';
    const lacking = this.#lacking;
    if (file === undefined || lacking === undefined) return;
    if (await this.#uploads.isSame(lacking.id, file)) await this.#uploads.add(file);
    else this.#tell(`That is not the file that ${lacking.name} was, or it has changed since.`);
  }

  async #remove(item: Item): Promise<void> {
    this.#list.leave(item.id);
    this.#announcer.say(item.phase === 'done' ? `${item.name} left the list.` : `${item.name} is cancelled.`);
    await this.#uploads.remove(item.id);
  }

  async #clear(items: readonly Item[]): Promise<void> {
    this.#announcer.say(`${files(items.length)} left the list.`);
    for (const { id } of items) await this.#uploads.remove(id);
  }

  async #copyLink({ id, name, link }: Item): Promise<void> {
    const { href } = new URL(link, page.location.href);
    const copied = await page.navigator.clipboard?.writeText(href).then(
      () => true,
      () => false,
    );
    if (copied !== true) return this.#tell(`The link could not be copied; it is ${href}`);
    this.#list.sayCopied(id);
    this.#announcer.say(`The link to ${name} is copied.`);
  }

  #tell(text: string): void {
    this.#setNotice(text);
    this.#announcer.say(text);
  }

  #setNotice(text: string): void {
    setText(this.#notice, text);
    this.#notice.hidden = text === '';
  }

  #do(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.#tell(`Something went wrong: ${error instanceof Error ? error.message : String(error)}`);
      console.error(error);
    });
  }
}

const files = (number: number): string => (number === 1 ? '1 file' : `${number} files`);

/** A queue needs what a browser gives to pages of https or of this very machine alone. */
const uploader = (onChange: (items: readonly Item[]) => void): Uploader => {
  try {
    return new Uploads('/upload', onChange);
  } catch (error) {
    if (!isUploadError(error, 'not_supported')) throw error;
    find('#unkept').hidden = false;
    return new UnkeptUploads('/upload', onChange);
  }
};

new App();
