// Text is at least 4.5:1 against what it stands on, in both; what else has to be seen, 3:1.
export const palette = `
:root {
  color-scheme: light dark;
  --page: #f6f7fb;
  --card: #ffffff;
  --text: #1b2030;
  --soft: #565e73;
  --line: #dde1eb;
  --edge: #848da3;
  --accent: #3452c7;
  --accent-hover: #2a43a6;
  --accent-text: #ffffff;
  --tint: #eef1fc;
  --track: #e3e7f2;
  --good: #1a7145;
  --warn: #8a5200;
  --warn-tint: #fdf3e0;
  --bad: #b3261e;
  --shadow: 0 1px 2px rgb(20 28 60 / 6%), 0 4px 16px rgb(20 28 60 / 5%);
}

@media (prefers-color-scheme: dark) {
  :root {
    --page: #12141c;
    --card: #1b1e29;
    --text: #eceef5;
    --soft: #a9b0c3;
    --line: #2e3342;
    --edge: #767f97;
    --accent: #8ea4ff;
    --accent-hover: #a9baff;
    --accent-text: #10142a;
    --tint: #22273a;
    --track: #2f3447;
    --good: #6fd3a0;
    --warn: #f2bd6b;
    --warn-tint: #2e2718;
    --bad: #ff9d94;
    --shadow: none;
  }
}
`;
