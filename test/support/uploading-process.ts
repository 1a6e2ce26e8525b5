// Uploads a file until so many bytes were sent, and prints where another process can go on, or what came of it.
import { type SavedUpload, upload } from '../../src/client/index.ts';

interface Job {
  readonly url: string;
  readonly path: string;
  readonly state?: SavedUpload;
  readonly stopAt: number;
}

const { url, path, state, stopAt } = JSON.parse(process.argv[2] ?? '') as Job;
const all: number[] = [];
const up = upload(url, path, {
  state,
  onProgress({ sent }) {
    all.push(sent);
    if (sent < stopAt) return;
    console.log(JSON.stringify({ state: up.state() }));
    process.exit(0); // as a crash would: nothing is closed
  },
});
const { body, bytesSent } = await up.result;
console.log(JSON.stringify({ body: String(body), bytesSent, sent: all }));
