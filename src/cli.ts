#!/usr/bin/env node
import { main } from './cli/main.ts';
import { systemCode } from './errors.ts';

// Whoever reads the output may have seen enough (`| head`).
process.stdout.on('error', (error) => {
  if (systemCode(error) !== 'EPIPE') throw error;
  process.exit(1);
});

process.exitCode = await main(process.argv.slice(2), process);
