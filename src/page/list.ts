import { find, page, setText } from './dom.ts';
import { bytesText, count, percent } from './format.ts';
import type { Item } from './item.ts';
import { Row, type RowActions } from './row.ts';

export interface ListActions extends RowActions {
  /** Forgets those that are done. */
  clear(items: readonly Item[]): void;
}

const copiedMs = 2_000;
const idleTitle = page.document.title;

/** All uploads, and what they come to. */
export class List {
  readonly #actions: ListActions;
  readonly #section = find('#uploads');
  readonly #element = find('#list');
  readonly #summary = find('#summary');
  readonly #clear = find('#clear');
  readonly #rows = new Map<string, Row>();

  constructor(actions: ListActions) {
    this.#actions = actions;
    this.#clear.addEventListener('click', () => {
      const items = [...this.#rows.values()].map(({ item }) => item);
      const done = items.filter(({ phase }) => phase === 'done');
      // The button goes with them.
      find(done.length < items.length ? '#uploads-title' : '#files').focus();
      actions.clear(done);
    });
  }

  /** Returns those whose phase is another than before. */
  show(items: readonly Item[]): { readonly before: Item; readonly now: Item }[] {
    const changed: { before: Item; now: Item }[] = [];
    const there = new Set(items.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (there.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const now of items) {
      const row = this.#rows.get(now.id);
      if (row === undefined) {
        const made = new Row(now, this.#actions);
        this.#rows.set(now.id, made);
        this.#element.append(made.element);
        continue;
      }
      if (isSame(row.item, now)) continue;
      if (row.item.phase !== now.phase) changed.push({ before: row.item, now });
      row.show(now);
    }
    this.#section.hidden = items.length === 0;
    find('.drop').classList.toggle('compact', items.length > 0);
    this.#summarize(items);
    return changed;
  }

  /** Before one is removed: what follows it, or what is before it, gets the focus that it has. */
  leave(id: string): void {
    const row = this.#rows.get(id);
    if (row === undefined || !row.element.contains(page.document.activeElement)) return;
    const all = [...this.#rows.values()];
    const at = all.indexOf(row);
    const next = all[at + 1] ?? all[at - 1];
    if (next === undefined) find('#files').focus();
    else next.focus();
  }

  sayCopied(id: string): void {
    this.#rows.get(id)?.say('.copy', 'Copied', copiedMs);
  }

  #summarize(items: readonly Item[]): void {
    const done = items.filter(({ phase }) => phase === 'done');
    const total = items.reduce((sum, { size }) => sum + size, 0);
    const sent = items.reduce((sum, item) => sum + Math.min(item.sent ?? 0, item.size), 0);
    const isDone = done.length === items.length;
    this.#clear.hidden = done.length === 0;
    setText(
      this.#summary,
      isDone
        ? `${count(items.length, 'file')}, ${bytesText(total)}`
        : `${done.length} of ${count(items.length, 'file')} · ${bytesText(sent)} of ${bytesText(total)}`,
    );
    const isActive = items.length > 0 && !isDone;
    const title = isActive ? `${percent(sent, total)}% · ${idleTitle}` : idleTitle;
    if (page.document.title !== title) page.document.title = title;
  }
}

const isSame = (one: Item, other: Item): boolean =>
  (Object.keys(one) as (keyof Item)[]).every((name) => one[name] === other[name]);
