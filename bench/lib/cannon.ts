import { askFor } from './ask.ts';
import { Child } from './child.ts';

/** Beyond the time it fires: for what is slow to end. */
const slackMs = 30_000;

/** What `servers/cannon.js` is told to send. */
export interface Load {
  readonly port: number;
  /** `post` and `tus` upload `body` in one request each; `query` asks for the state of existing uploads. */
  readonly protocol: 'post' | 'tus' | 'query';
  readonly connections: number;
  readonly seconds: number;
  /** In base64. */
  readonly body?: string;
  /** How many uploads there are to ask about. */
  readonly uploads?: number;
  /** Its connections are cut on their way: requests may be lost, though no answer may be wrong. */
  readonly isCut?: boolean;
}

export interface Fired {
  /** Every answer was the right one: anything else is a failure. */
  readonly answered: number;
  /** Answered or not. */
  readonly sent: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The load generator, in a process of its own, so that nothing it costs is counted as the server's. */
export const startCannon = (): Child => new Child(new URL('../servers/cannon.js', import.meta.url), []);

export const fire = (cannon: Child, load: Load): Promise<Fired> =>
  askFor<Fired>(cannon, 'fire', load, load.seconds * 1000 + slackMs);
