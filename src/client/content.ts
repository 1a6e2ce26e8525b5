import { UploadError } from '../errors.ts';

/** Bytes that can be read from any offset, as often as needed. */
export interface ByteSource {
  /**
   * The bytes of `[start, end)` in order, in chunks of any size. A chunk stays as it is until the second
   * `next()` after it, so that one chunk can be read while the one before it is being sent.
   */
  chunks(start: number, end: number): AsyncIterator<Uint8Array, unknown, undefined>;
  /** The same without reading them, where the platform has a handle on them. */
  blob?(start: number, end: number): Blob;
}

/** Content of known length that can be read again from any offset: a resume needs both. */
export interface Source extends ByteSource {
  /** In bytes. */
  readonly length: number;
  /** Differs when the content is another, as far as that can be told without reading it. */
  readonly fingerprint?: string | undefined;
  close(): Promise<void>;
}

/** What can be read once only: anything that yields bytes. */
export type StreamLike = ReadableStream<Uint8Array> | AsyncIterable<Uint8Array | string>;

/** A source that comes as a stream. */
export interface OpenStream {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Ends it, whatever it is waiting for. */
  stop(): Promise<void>;
}

/** What is read at once. */
export const chunkBytes = 1024 * 1024;

/** `size` is that of its chunks. */
export const memorySource = (bytes: Uint8Array, size = 128 * 1024): Source => ({
  length: bytes.length,
  async *chunks(start, end) {
    for (let offset = start; offset < end; offset += size) {
      yield bytes.subarray(offset, Math.min(offset + size, end));
    }
  },
  close: () => Promise.resolve(),
});

/** A `File` is told from another by its name and date too. */
export const blobSource = (blob: Blob): Source => {
  const { name, lastModified } = blob as Partial<File>;
  return {
    length: blob.size,
    fingerprint: name === undefined ? undefined : `${blob.size} ${lastModified} ${name}`,
    async *chunks(start, end) {
      for (let offset = start; offset < end; offset += chunkBytes) {
        const part = blob.slice(offset, Math.min(offset + chunkBytes, end));
        yield new Uint8Array(await part.arrayBuffer());
      }
    },
    blob: (start, end) => blob.slice(start, end),
    close: () => Promise.resolve(),
  };
};

/** One after the other, as one content. */
export const concatenation = (parts: readonly Source[]): Source => {
  const offsets: number[] = [];
  let length = 0;
  for (const part of parts) {
    offsets.push(length);
    length += part.length;
  }
  /** Those that have some of `[start, end)`, and how much of each in its own offsets. */
  const within = (start: number, end: number) =>
    parts.flatMap((part, index) => {
      const at = offsets[index] ?? 0;
      const from = Math.max(start - at, 0);
      const to = Math.min(end - at, part.length);
      return from < to ? [{ part, from, to }] : [];
    });
  const blobs = parts.map(({ blob }) => blob);
  return {
    length,
    fingerprint: parts.map((part) => part.fingerprint ?? String(part.length)).join('\n'),
    async *chunks(start, end) {
      for (const { part, from, to } of within(start, end)) yield* iterable(part.chunks(from, to));
    },
    ...(blobs.every((blob) => blob !== undefined) && {
      blob: (start: number, end: number) =>
        new Blob(within(start, end).flatMap(({ part, from, to }) => part.blob?.(from, to) ?? [])),
    }),
    async close() {
      await closeAll(parts);
    },
  };
};

/** The same where some come as streams: then the whole is one. */
export const concatenatedStream = (parts: readonly (Source | OpenStream)[]): OpenStream => ({
  bytes: (async function* () {
    for (const part of parts) {
      if ('bytes' in part) yield* part.bytes;
      else yield* iterable(part.chunks(0, part.length));
    }
  })(),
  stop: () => closeAll(parts.map((part) => ('bytes' in part ? { close: () => part.stop() } : part))),
});

/** Closes them all, and then rejects if one could not be. */
export const closeAll = async (parts: readonly { close(): Promise<void> }[]): Promise<void> => {
  const results = await Promise.allSettled(parts.map((part) => part.close()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
};

/** Bytes that must not change meanwhile, a Blob or File, or a stream. */
export type BytesPart = Uint8Array | ArrayBuffer | Blob | StreamLike;

/** Throws `invalid_argument`. */
export const openPart = (part: BytesPart): Source | OpenStream => {
  if (part instanceof Uint8Array) return memorySource(part, chunkBytes);
  if (part instanceof ArrayBuffer) return memorySource(new Uint8Array(part), chunkBytes);
  if (part instanceof Blob) return blobSource(part);
  if (typeof part === 'object' && part !== null && isStream(part)) return openStream(part);
  throw new UploadError('invalid_argument', 'not a source', { actual: typeof part });
};

/** Several parts as one content: one that can be read again, if all of them can. */
export const joined = (parts: readonly (Source | OpenStream)[]): Source | OpenStream => {
  const seekable = parts.filter((part) => 'close' in part);
  return seekable.length === parts.length ? concatenation(seekable) : concatenatedStream(parts);
};

const isStream = (value: object): value is StreamLike =>
  Symbol.asyncIterator in value || ('getReader' in value && typeof value.getReader === 'function');

export const openStream = (stream: StreamLike): OpenStream => {
  if ('getReader' in stream) {
    // Not every browser can iterate over its own streams.
    const reader = stream.getReader();
    return { bytes: asBytes(readAll(reader)), stop: () => reader.cancel() };
  }
  const iterator = stream[Symbol.asyncIterator]();
  const stop = async (): Promise<void> => {
    // What an iterator waits for has to end before it can be told to: a Node stream does when it is destroyed.
    if ('destroy' in stream && typeof stream.destroy === 'function') stream.destroy();
    else await iterator.return?.();
  };
  return { bytes: asBytes(iterable(iterator)), stop };
};

async function* readAll(reader: {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
}): AsyncGenerator<Uint8Array | undefined, void, undefined> {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

async function* asBytes(chunks: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    if (chunk instanceof Uint8Array) yield chunk;
    else if (typeof chunk === 'string') yield new TextEncoder().encode(chunk);
    else throw new UploadError('invalid_argument', 'a stream gave something that is not bytes');
  }
}

export const iterable = <T>(iterator: AsyncIterator<T, unknown, undefined>): AsyncIterable<T> => ({
  [Symbol.asyncIterator]: () => iterator as AsyncIterator<T, undefined, undefined>,
});
