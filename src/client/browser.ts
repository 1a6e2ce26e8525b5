export { isUploadError, UploadError, type UploadErrorCode } from '../errors.ts';
export type { UploadSource } from './browser-source.ts';
export { type Upload, upload } from './browser-upload.ts';
export { UploadFailedError } from './failure.ts';
export type { HeadersOption, RetryOptions, UploadOptions } from './options.ts';
export type { UploadProgress, UploadState } from './progress.ts';
export {
  type QueuedOptions,
  type QueueEntry,
  type QueueOptions,
  type UploadQueue,
  uploadQueue,
} from './queue.ts';
export type { UploadResult } from './run.ts';
export type { SavedUpload } from './saved.ts';
export type { HttpResponse } from './transport.ts';
