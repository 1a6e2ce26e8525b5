export { isUploadError, UploadError, type UploadErrorCode, type UploadErrorFacts } from './errors.ts';
export { type ListenOptions, listen } from './http/listen.ts';
export type { Handler, ResumableOptions } from './http/options.ts';
export type { Upload, UploadRequest } from './http/upload.ts';
export { type ResumableListener, resumable, type UploadStatus } from './http.ts';
export type { Range } from './intervals.ts';
export type { UploadState } from './lifecycle.ts';
export type {
  Claim,
  Durability,
  Store,
  StoreCapabilities,
  StoredUpload,
  StoreWriter,
  UploadRecord,
} from './store.ts';
