// The little of a document that the page uses, for the reason that `client/browser-globals.ts` gives.

export interface PageEvent {
  preventDefault(): void;
  readonly dataTransfer?: Transfer | null;
  readonly clipboardData?: Transfer | null;
}

export interface Transfer {
  readonly files: ArrayLike<File>;
  readonly types: readonly string[];
  readonly items: ArrayLike<{ webkitGetAsEntry?(): { readonly isDirectory: boolean } | null }>;
  dropEffect: string;
}

export interface PageElement {
  textContent: string | null;
  hidden: boolean;
  title: string;
  readonly dataset: Record<string, string | undefined>;
  readonly classList: { toggle(name: string, force: boolean): void };
  readonly nextElementSibling: PageElement | null;
  readonly previousElementSibling: PageElement | null;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  append(...nodes: (PageElement | string)[]): void;
  remove(): void;
  focus(): void;
  click(): void;
  contains(node: PageElement | null): boolean;
  querySelector(selector: string): PageElement | null;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
}

export interface InputElement extends PageElement {
  readonly files: ArrayLike<File> | null;
  value: string;
}

export interface LinkElement extends PageElement {
  href: string;
  download: string;
}

interface TemplateElement extends PageElement {
  readonly content: { cloneNode(deep: true): { readonly firstElementChild: PageElement | null } };
}

interface PageDocument {
  title: string;
  readonly activeElement: PageElement | null;
  querySelector(selector: string): PageElement | null;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
}

interface PageWindow {
  readonly document: PageDocument;
  readonly location: { readonly href: string };
  readonly localStorage: {
    readonly length: number;
    key(at: number): string | null;
    getItem(key: string): string | null;
    setItem(key: string, value: string): void;
    removeItem(key: string): void;
  };
  readonly navigator: {
    readonly onLine: boolean;
    readonly clipboard?: { writeText(text: string): Promise<void> };
  };
  addEventListener(type: string, listener: () => void): void;
}

export const page: PageWindow = globalThis as unknown as PageWindow;

/** Throws where the markup has no such element. */
export const find = <T extends PageElement = PageElement>(
  selector: string,
  within: { querySelector(selector: string): PageElement | null } = page.document,
): T => {
  const element = within.querySelector(selector);
  if (element === null) throw new Error(`the page has no ${selector}`);
  return element as T;
};

/** What a `<template>` holds, anew. */
export const instantiate = (selector: string): PageElement => {
  const made = find<TemplateElement>(selector).content.cloneNode(true).firstElementChild;
  if (made === null) throw new Error(`${selector} is empty`);
  return made;
};

/** Only what is another: an assistive technology may say again what was merely written again. */
export const setText = (element: PageElement, text: string): void => {
  if (element.textContent !== text) element.textContent = text;
};
