/** What a file is, by its name alone: its content is the program's word. */

const OCTET_STREAM = 'application/octet-stream';

const BY_EXTENSION = new Map(
  Object.entries({
    avif: 'image/avif',
    bmp: 'image/bmp',
    css: 'text/css',
    csv: 'text/csv',
    docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    feather: 'application/vnd.apache.arrow.file',
    gif: 'image/gif',
    gz: 'application/gzip',
    h5: 'application/x-hdf5',
    htm: 'text/html',
    html: 'text/html',
    ipynb: 'application/x-ipynb+json',
    jpeg: 'image/jpeg',
    jpg: 'image/jpeg',
    js: 'text/javascript',
    json: 'application/json',
    jsonl: 'application/x-ndjson',
    log: 'text/plain',
    md: 'text/markdown',
    mp3: 'audio/mpeg',
    mp4: 'video/mp4',
    ndjson: 'application/x-ndjson',
    npy: 'application/x-npy',
    npz: 'application/x-npz',
    parquet: 'application/vnd.apache.parquet',
    pdf: 'application/pdf',
    png: 'image/png',
    pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
    py: 'text/x-python',
    sqlite: 'application/vnd.sqlite3',
    svg: 'image/svg+xml',
    tar: 'application/x-tar',
    tex: 'application/x-tex',
    tif: 'image/tiff',
    tiff: 'image/tiff',
    toml: 'application/toml',
    tsv: 'text/tab-separated-values',
    txt: 'text/plain',
    wav: 'audio/wav',
    webp: 'image/webp',
    xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
    xml: 'application/xml',
    yaml: 'application/yaml',
    yml: 'application/yaml',
    zip: 'application/zip',
  }),
);

export function mediaTypeOf(path: string): string {
  const extension = /\.([^./]{1,10})$/.exec(path)?.[1]?.toLowerCase();
  return (extension === undefined ? undefined : BY_EXTENSION.get(extension)) ?? OCTET_STREAM;
}
