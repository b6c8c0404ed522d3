// Sounds as 16-bit WAV with one channel at 16 kHz, which the server reads without a codec.

const RATE = 16000;

/** A WAV file from samples between -1 and 1. */
export function encode(samples, rate = RATE) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, word) => [...word].forEach((letter, n) => view.setUint8(place + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, n) => view.setInt16(44 + 2 * n, Math.round(Math.max(-1, Math.min(1, value)) * 32767), true));
  return new Blob([view], { type: "audio/wav" });
}

/** WAV from a decoded sound of any rate and any number of channels. */
export async function fromBuffer(buffer) {
  const context = new OfflineAudioContext(1, Math.max(1, Math.round(buffer.duration * RATE)), RATE);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return encode((await context.startRendering()).getChannelData(0));
}

/** WAV from the bytes of a file that the browser can decode. */
export async function wavOf(bytes) {
  return fromBuffer(await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes));
}
