import { find, type InputElement, type PageEvent, page, type Transfer } from './dom.ts';

export interface Intake {
  onFiles(files: File[]): void;
  onFolder(): void;
}

const hasFiles = (transfer: Transfer | null | undefined): transfer is Transfer =>
  transfer?.types.includes('Files') === true;

/** The ways in which people hand files to the page: the button, dropping them anywhere on it, pasting them. */
export const takeFiles = ({ onFiles, onFolder }: Intake): void => {
  const drop = find('.drop');
  const picker = find<InputElement>('#files');

  const take = (transfer: Transfer): void => {
    // What a folder is can only be asked while the event lasts. Its place in `files` holds nothing that could be read.
    const isFolder = Array.from(transfer.items).map(
      (item) => item.webkitGetAsEntry?.()?.isDirectory === true,
    );
    const given = Array.from(transfer.files);
    const files = given.length === isFolder.length ? given.filter((_, at) => isFolder[at] !== true) : given;
    if (files.length < given.length) onFolder();
    if (files.length > 0) onFiles(files);
  };

  picker.addEventListener('change', () => {
    const files = Array.from(picker.files ?? []);
    picker.value = ''; // the same file, chosen again, is to be heard of
    if (files.length > 0) onFiles(files);
  });

  // A file that misses the drop zone would otherwise take the place of the page.
  const over = (event: PageEvent): void => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    drop.classList.toggle('over', true);
  };
  const left = (): void => drop.classList.toggle('over', false);
  page.document.addEventListener('dragenter', over);
  page.document.addEventListener('dragover', over);
  page.document.addEventListener('dragleave', left);
  page.document.addEventListener('drop', (event) => {
    left();
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    take(event.dataTransfer);
  });
  page.document.addEventListener('paste', ({ clipboardData }) => {
    if (hasFiles(clipboardData)) take(clipboardData);
  });
};
