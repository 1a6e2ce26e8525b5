// The load of an interruption: many uploads, so many of them at once, each resumed as its protocol provides for.
import { setMaxListeners } from 'node:events';
import { Link, newFacts } from './interrupted-link.js';
import { uploadThrough } from './interrupted-protocols.js';
import { answerHarness } from './support.js';

/** `first` is the number of the first upload's content; after `limitMs` what is not complete is given up. */
const upload = async ({ protocol, port, first, uploads, concurrency, size, stallMs, answerMs, limitMs }) => {
  const facts = newFacts();
  const limit = new AbortController();
  const { signal } = limit;
  // Every link at work listens to it.
  setMaxListeners(0, signal);
  const newLink = () => new Link({ port, facts, signal, stallMs, answerMs });
  const results = [];
  let next = first;
  const work = async () => {
    while (next < first + uploads && !signal.aborted) {
      results.push(await uploadThrough(protocol, next++, size, newLink));
    }
  };
  const started = performance.now();
  const timer = setTimeout(() => limit.abort(), limitMs);
  await Promise.all(Array.from({ length: concurrency }, work));
  clearTimeout(timer);
  return { elapsedMs: performance.now() - started, results, ...facts };
};

answerHarness({ upload });
