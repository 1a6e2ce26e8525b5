import { defineConfig } from 'vitest/config';

// What needs a real S3 server: run by `npm run test:s3`, which starts those that can be had.
export default defineConfig({
  test: {
    include: ['test/s3/**/*.s3.ts'],
    root: new URL('..', import.meta.url).pathname,
    testTimeout: 600_000,
  },
});
