// Media in memory: files and recordings become parts of a request, and parts of an answer become elements.
import { make } from "/dom.js";
import { wavOf } from "/wav.js";

export const NAMES = { image: "picture", audio: "sound", video: "clip" };
const SOUNDS = /^audio\/(x-)?(wav|wave|flac|ogg|mpeg|mp3)$/;

/** The modality of a file by its type, among those that the adapters read; null for none. */
function kindOf(type, reads) {
  if (type === "image/svg+xml") return null; // a document with scripts, not a picture
  const kind = type === "image/gif" && reads.includes("video") ? "video" : type.split("/")[0];
  return reads.includes(kind) ? kind : null;
}

/** One medium: its modality, its bytes, and an address for elements of this page. */
export class Medium {
  constructor(kind, blob, name = "") {
    this.kind = kind;
    this.blob = blob;
    this.name = name;
    this.url = URL.createObjectURL(blob);
  }

  /** The medium of a file; sounds of other formats than the server's are decoded here. */
  static async of(file, reads) {
    const kind = kindOf(file.type, reads);
    if (kind === null) {
      const offered = new Intl.ListFormat("en").format(reads.map((name) => `${NAMES[name]}s`)) || "nothing but text";
      throw new Error(`${file.name || "This file"}: the adapter reads ${offered}.`);
    }
    if (kind !== "audio" || SOUNDS.test(file.type)) return new Medium(kind, file, file.name);
    try {
      return new Medium(kind, await wavOf(await file.arrayBuffer()), file.name);
    } catch {
      throw new Error(`${file.name || "This sound"}: this browser cannot read it; WAV, FLAC, Ogg and MP3 always work.`);
    }
  }

  /** The size of the medium in a request, in bytes. */
  get size() {
    return Math.ceil(this.blob.size / 3) * 4 + 100;
  }

  /** The part of a request. */
  async part() {
    const bytes = new Uint8Array(await this.blob.arrayBuffer());
    let binary = "";
    for (let start = 0; start < bytes.length; start += 0x8000) {
      binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
    }
    const type = `${this.kind}_url`;
    return { type, [type]: { url: `data:${this.blob.type || "application/octet-stream"};base64,${btoa(binary)}` } };
  }

  /** An element that shows or plays it. */
  element(alt) {
    if (this.blob.type.startsWith("image/")) return make("img", { src: this.url, alt });
    const player = make(this.kind === "audio" ? "audio" : "video", { src: this.url, controls: true, "aria-label": alt });
    if (this.kind === "video") Object.assign(player, { muted: true, playsInline: true, loop: true });
    return player;
  }

  free() {
    URL.revokeObjectURL(this.url);
  }
}

/** The medium of a part of an answer, whose source is a data: address. */
export function mediumOfPart(part) {
  const [, type, data] = /^data:([^;,]*);base64,(.*)$/s.exec(part[part.type].url);
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  return new Medium(part.type.replace("_url", ""), new Blob([bytes], { type }));
}
