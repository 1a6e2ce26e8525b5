// The little of a browser that is used here. Its own types would be added to every file of a program for Node.

export interface BrowserRequest {
  responseType: string;
  withCredentials: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly response: ArrayBuffer | null;
  readonly responseURL: string;
  readonly upload: { onprogress: ((event: { readonly loaded: number }) => void) | null };
  onload: (() => void) | null;
  onerror: (() => void) | null;
  onabort: (() => void) | null;
  onprogress: (() => void) | null;
  onreadystatechange: (() => void) | null;
  open(method: string, url: string): void;
  setRequestHeader(name: string, value: string): void;
  getAllResponseHeaders(): string;
  send(body: Blob | null): void;
  abort(): void;
}

export interface StoreRequest<T> {
  readonly result: T;
  readonly error: Error | null;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}

export interface ObjectStore {
  get(key: string): StoreRequest<unknown>;
  getAll(): StoreRequest<unknown[]>;
  put(value: unknown): StoreRequest<unknown>;
  delete(key: string): StoreRequest<undefined>;
}

export interface Transaction {
  readonly error: Error | null;
  oncomplete: (() => void) | null;
  onabort: (() => void) | null;
  objectStore(name: string): ObjectStore;
}

export interface Database {
  createObjectStore(name: string, options: { readonly keyPath: string }): ObjectStore;
  transaction(name: string, mode: 'readonly' | 'readwrite'): Transaction;
  close(): void;
}

export interface LockManager {
  request<T>(
    name: string,
    options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal },
    callback: (lock: object | null) => Promise<T>,
  ): Promise<T>;
  query(): Promise<{ readonly held?: readonly { readonly name: string }[] }>;
}

export interface BrowserGlobals {
  readonly XMLHttpRequest?: new () => BrowserRequest;
  readonly indexedDB?: {
    open(name: string, version: number): StoreRequest<Database> & { onupgradeneeded: (() => void) | null };
  };
  readonly navigator?: { readonly locks?: LockManager };
}

export const globals: BrowserGlobals = globalThis as unknown as BrowserGlobals;
