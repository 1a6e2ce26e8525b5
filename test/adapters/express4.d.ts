// The types of Express 5 know all that is used of it here.
declare module 'express4' {
  export * from 'express';
  export { default } from 'express';
}
