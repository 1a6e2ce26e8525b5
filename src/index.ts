export {
  type ContentDisposition,
  type Entity,
  type FileEntityOptions,
  fileEntity,
  type PlanOptions,
  planResponse,
  type Representation,
  type RequestLine,
  type ResponsePlan,
  type Served,
  type ServeOptions,
  serve,
  type UploadEntityOptions,
  uploadEntity,
} from './download.ts';
export type { RemovalReason } from './engine.ts';
export { isUploadError, UploadError, type UploadErrorCode, type UploadErrorFacts } from './errors.ts';
export { uploadMetadata } from './headers/upload-metadata.ts';
export type { CorsOptions, CorsOrigins } from './http/cors.ts';
export type { Hooks, Refusal, UploadStatus, UploadTerms } from './http/hooks.ts';
export { type ListenOptions, listen } from './http/listen.ts';
export type { Handler, ResumableOptions, StreamHandler } from './http/options.ts';
export type { UploadOperations } from './http/service.ts';
export type { StreamedUpload, Upload, UploadRequest } from './http/upload.ts';
export { type ResumableListener, resumable } from './http.ts';
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
