import { UploadError } from '../errors.ts';
import type { ContentDisposition } from '../headers/content-disposition.ts';
import type { RequestContext } from '../http/context.ts';
import type { Store, StoredUpload, UploadRecord } from '../store.ts';
import type { Entity } from './entity.ts';
import { findUpload, type Lifetimes } from './find.ts';
import { followUpload, storedEnd, type WaitOptions } from './growing.ts';
import type { Representation } from './plan.ts';

export interface UploadEntityOptions extends Pick<Representation, 'headers'>, Lifetimes {
  /** What recipients are to do with it; a function is given what the application knows of the upload. */
  readonly disposition?:
    | ContentDisposition
    | ((metadata: UploadRecord['metadata']) => ContentDisposition | undefined)
    | undefined;
  /** In the place of the digest that the upload was begun with, if it was with any. See `Representation.digest`. */
  readonly digest?: string;
  /**
   * The media type. By default what the uploader stated; as that is a stranger's word, it is sent with `nosniff` and in a
   * sandbox, so that no script of theirs runs in your origin. To be shown as anything else, it takes yours.
   */
  readonly contentType?: string;
  /**
   * Whether an upload that is still coming may be read, too. What is stored from its first byte on without a gap is
   * then the content, and a range past that a 416; `Content-Range` leaves the length open.
   *
   * @default false
   */
  readonly open?: boolean;
  /**
   * With `open`: the content is the whole upload, and bytes that are not there yet are waited for. While nobody has stated
   * the length, a Range is ignored.
   */
  readonly wait?: WaitOptions | boolean;
}

/**
 * The content of an upload, by its `id`; undefined where there is none: never was, moved away, refused by the handler, or
 * not complete (see `open`).
 *
 * Rejects with `gone` where there was one that was removed or has expired, which `serve` makes a 410 of, as the server
 * that took the upload would; with the store's own failure, and with `not_supported` for an open upload in a store that
 * cannot read one (`supports.readOpen`).
 */
export const uploadEntity = async (
  store: Store,
  id: string,
  options: UploadEntityOptions = {},
): Promise<Entity | undefined> => {
  // It may be what a URL says; no upload has an id of another form.
  if (!/^[A-Za-z0-9_-]{16,64}$/.test(id)) return undefined;
  const stored = await findUpload(store, id, options);
  if (stored === undefined) return undefined;
  const { state, length, moved, refused } = stored.record;
  if (moved || refused) return undefined;
  if (state === 'finished') {
    return { ...known(stored, options), ...readFrom(store, id), size: length ?? 0, etag: `"${id}"` };
  }
  if (!options.open) return undefined;
  if (!store.supports.readOpen) {
    throw new UploadError('not_supported', `${store.name} cannot read an upload that is not complete`, {
      id,
    });
  }
  const { wait = false, expiresAfterMs, keepCompletedMs } = options;
  if (wait === false) {
    const size = storedEnd(stored, 0);
    // Stored bytes never change, so their number names them.
    const etag = `"${id}.${size}"`;
    return { ...known(stored, options), ...readFrom(store, id), size, etag, isGrowing: size !== length };
  }
  return {
    ...known(stored, options),
    size: length,
    etag: `"${id}"`,
    read: (start, end) =>
      followUpload(store, id, start, end, {
        ...(wait === true ? {} : wait),
        expiresAfterMs,
        keepCompletedMs,
      }),
  };
};

const readFrom = (store: Store, id: string): Pick<Entity, 'read'> => ({
  read: (start, end) => store.read(id, start, end),
});

/** What a page of a stranger's needs to be harmless: no script, no form, no origin. */
const sandbox = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
};

const known = (
  { record }: StoredUpload,
  { contentType, headers, disposition, digest = record.digest }: UploadEntityOptions,
): Omit<Representation, 'size'> => {
  const stated = contentType === undefined ? statedType(record.context) : undefined;
  return {
    contentType: contentType ?? stated,
    headers: stated === undefined ? headers : { ...sandbox, ...headers },
    disposition: typeof disposition === 'function' ? disposition(record.metadata) : disposition,
    digest,
  };
};

/** A type that is not one is none. */
const statedType = (context: string | undefined): string | undefined => {
  if (context === undefined) return undefined;
  const type = (JSON.parse(context) as RequestContext).headers['content-type'];
  return type !== undefined && /^[\t\x20-\x7e]+$/.test(type) ? type : undefined;
};
