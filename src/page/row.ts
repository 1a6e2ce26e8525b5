import { find, instantiate, type LinkElement, type PageElement, page, setText } from './dom.ts';
import { bytesText, leftText, percent } from './format.ts';
import type { Item, Phase } from './item.ts';

export interface RowActions {
  pause(item: Item): void;
  /** Goes on with one that is paused, failed or lacks its file. */
  resume(item: Item): void;
  remove(item: Item): void;
  copyLink(item: Item): void;
}

const toggles: Readonly<Record<Phase, string>> = {
  keeping: '',
  queued: 'Pause',
  asking: 'Pause',
  sending: 'Pause',
  away: 'Pause',
  processing: 'Pause',
  paused: 'Resume',
  lacking: 'Choose file',
  failed: 'Try again',
  done: '',
};

export const stateText = ({ phase, rate, etaMs, problem, pickedUpAt }: Item): string => {
  switch (phase) {
    case 'keeping':
      return 'Keeping a copy in this browser…';
    case 'queued':
      return 'Waiting its turn';
    case 'asking':
      return 'Asking the server what it has…';
    case 'sending': {
      const from = pickedUpAt > 0 ? `picked up at ${bytesText(pickedUpAt)}` : '';
      const facts = [rate > 0 ? `${bytesText(rate)}/s` : '', leftText(etaMs), from];
      return ['Uploading', ...facts.filter((fact) => fact !== '')].join(' · ');
    }
    case 'away':
      return 'Waiting for the server…';
    case 'processing':
      return 'All is sent; the server is finishing';
    case 'paused':
      return 'Paused';
    case 'lacking':
      return 'Choose the file again to go on';
    case 'failed':
      return `Failed: ${problem}`;
    case 'done':
      return 'Uploaded';
  }
};

const noteText = ({ phase, isKept }: Item): string => {
  if (isKept || phase === 'failed') return '';
  if (phase === 'lacking')
    return 'This browser could not keep the file; what the server has of it is not lost.';
  return 'This browser cannot keep a file this large. After closing the page, choose it again to go on.';
};

/** One upload in the list. */
export class Row {
  readonly element: PageElement;
  readonly #toggle: PageElement;
  readonly #open: LinkElement;
  readonly #copy: PageElement;
  #item: Item;

  constructor(item: Item, actions: RowActions) {
    this.#item = item;
    this.element = instantiate('#row');
    this.#toggle = find('.toggle', this.element);
    this.#open = find<LinkElement>('.open', this.element);
    this.#copy = find('.copy', this.element);
    const { name, size } = item;
    setText(find('.name', this.element), name);
    setText(find('.size', this.element), bytesText(size));
    find('progress', this.element).setAttribute('aria-label', name);
    for (const selector of ['.open', '.copy', '.toggle', '.remove'])
      setText(find(`${selector} .of`, this.element), ` ${name}`);
    this.#toggle.addEventListener('click', () => {
      if (toggles[this.#item.phase] === 'Pause') actions.pause(this.#item);
      else actions.resume(this.#item);
    });
    find('.remove', this.element).addEventListener('click', () => actions.remove(this.#item));
    this.#copy.addEventListener('click', () => actions.copyLink(this.#item));
    this.show(item);
  }

  get item(): Item {
    return this.#item;
  }

  focus(): void {
    find('.remove', this.element).focus();
  }

  /** For a while, in the place of what the button says. */
  say(selector: string, word: string, forMs: number): void {
    const target = find(`${selector} .word`, this.element);
    const before = target.textContent ?? '';
    if (before === word) return;
    setText(target, word);
    setTimeout(() => setText(target, before), forMs);
  }

  show(item: Item): void {
    this.#item = item;
    const { phase, sent, size, link, name } = item;
    this.element.dataset.phase = phase;
    setText(find('.state', this.element), stateText(item));
    this.#showNote(noteText(item));
    this.#showProgress(phase, sent, size);

    const isLinked = link !== '';
    if (isLinked) {
      this.#open.href = link;
      this.#open.download = name;
    }
    const word = toggles[phase];
    const hadFocus = page.document.activeElement === this.#toggle;
    this.#open.hidden = !isLinked;
    this.#copy.hidden = !isLinked;
    setText(find('.word', this.#toggle), word);
    this.#toggle.hidden = word === '';
    const remove = find('.remove', this.element);
    remove.hidden = phase === 'keeping';
    setText(find('.word', remove), phase === 'done' ? 'Remove' : 'Cancel');
    // What had the focus is gone: the next best thing gets it.
    if (hadFocus && word === '') (isLinked ? this.#open : remove).focus();
  }

  #showNote(text: string): void {
    const note = find('.note', this.element);
    setText(note, text);
    note.hidden = text === '';
  }

  #showProgress(phase: Phase, sent: number | undefined, size: number): void {
    const bar = find('progress', this.element);
    const isUnknown = phase === 'keeping' || (phase === 'asking' && sent === undefined);
    const done = phase === 'done' ? 100 : Math.min(percent(sent ?? 0, size), 100);
    if (isUnknown) bar.removeAttribute('value');
    else bar.setAttribute('value', String(done));
    setText(find('.percent', this.element), isUnknown ? '' : `${done}%`);
  }
}
