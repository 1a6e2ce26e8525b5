import { headerFields, wholeNumber } from './values.ts';

/** How bytes are brought from here to there. Options of `upload` and `download`. */
export const transferOptions = {
  parallel: { type: 'string', default: '1' },
  header: { type: 'string', multiple: true, default: [] as string[] },
  'retry-for': { type: 'string', default: '300' },
} as const;

export interface Transfer {
  readonly parallel: number;
  readonly headers: Readonly<Record<string, string>>;
  /** How long a server may be gone, in seconds. */
  readonly retryFor: number;
}

interface TransferValues {
  readonly parallel: string;
  readonly header: readonly string[];
  readonly 'retry-for': string;
}

export const readTransfer = (values: TransferValues): Transfer => ({
  parallel: wholeNumber('parallel', values.parallel, 1, 64),
  headers: headerFields(values.header),
  retryFor: wholeNumber('retry-for', values['retry-for'], 0, 1_000_000),
});
