const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32' rx='8' fill='%233452c7'/%3E%3Cpath d='M16 23V10m-6 5.5 6-6 6 6' fill='none' stroke='%23fff' stroke-width='3' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E";

const head = (title: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${icon}">
<link rel="stylesheet" href="/page/style.css">`;

const header = `<header>
  <h1>Upload files</h1>
  <p class="lead">Close the tab, lose the network, restart the server: an upload goes on where it was.</p>
</header>`;

/** What is shown at `/`; `script` is the URL of its module. */
export const uploadPage = (script: string): string => `${head('Upload files')}
<script type="module" src="${script}"></script>
</head>
<body>
${header}
<main>
  <section class="drop" aria-labelledby="drop-title">
    <svg viewBox="0 0 48 48" width="48" height="48" aria-hidden="true" focusable="false">
      <path d="M24 32V12m-9 8.5 9-9 9 9M9 31v5a4 4 0 0 0 4 4h22a4 4 0 0 0 4-4v-5"/>
    </svg>
    <h2 id="drop-title">Drop files anywhere on this page</h2>
    <div class="choose">
      <input id="files" class="unseen" type="file" multiple>
      <label for="files" class="button primary">Choose files</label>
    </div>
    <p class="hint">or paste them. Any size, as many as you like.</p>
  </section>

  <p id="unkept" class="notice" hidden>This page does not come over https, so the browser keeps no files for it. If you
  close it, choose the same files again: they go on where they were.</p>
  <p id="banner" class="banner" hidden></p>
  <p id="notice" class="notice" hidden></p>
  <noscript><p class="banner">This page needs JavaScript. Without it: <code>npx resumable-http upload FILE URL</code></p></noscript>

  <section id="uploads" aria-labelledby="uploads-title" hidden>
    <div class="bar">
      <h2 id="uploads-title" tabindex="-1">Uploads</h2>
      <p id="summary" class="summary"></p>
      <button id="clear" class="button small quiet" type="button" hidden>Clear finished</button>
    </div>
    <ul id="list" class="list"></ul>
  </section>
</main>
<div id="status" class="unseen" role="status"></div>
<input id="again" type="file" hidden>

<template id="row">
  <li class="row">
    <p class="title"><span class="name"></span> <span class="size"></span></p>
    <p class="percent" aria-hidden="true"></p>
    <progress max="100"></progress>
    <p class="state"></p>
    <div class="actions">
      <a class="button small open" hidden>Download<span class="unseen of"></span></a>
      <button class="button small copy" type="button" hidden><span class="word">Copy link</span><span class="unseen of"></span></button>
      <button class="button small toggle" type="button"><span class="word"></span><span class="unseen of"></span></button>
      <button class="button small quiet remove" type="button"><span class="word"></span><span class="unseen of"></span></button>
    </div>
    <p class="note" hidden></p>
  </li>
</template>
</body>
</html>
`;

/** In its place while the modules that it loads have not been built. */
export const unbuiltPage = `${head('Not built yet')}
</head>
<body>
${header}
<main>
  <section class="drop">
    <h2>This page is not built yet</h2>
    <p class="hint">The server runs from its sources. Run <code>npm run build</code> and start it again; uploads by
    <code>POST /upload</code> work without.</p>
  </section>
</main>
</body>
</html>
`;
