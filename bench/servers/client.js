// The load: one upload per message from the harness, over a raw socket.
import { open, post, tus } from './sending.js';

const protocols = { post, tus };

const upload = async ({ port, size, protocol }) => {
  const socket = await open(port);
  const started = performance.now();
  const { status, body } = await protocols[protocol](socket, size);
  return { elapsedMs: performance.now() - started, status, body };
};

process.on('message', (message) => {
  upload(message.upload).then(
    (result) => process.send?.({ uploaded: result }),
    (error) => process.send?.({ failed: String(error) }),
  );
});
process.on('disconnect', () => process.exit());
