// Make a PGM or PPM image of 8 or 16 bits finer, with Node.js and onnxruntime-node:
//
//     node superres_onnx.mjs MODEL.onnx IN.pgm OUT.pgm [noise [tile]]
//
// MODEL.onnx and MODEL.onnx.json are what `superres models export NAME --format onnx` wrote.
// `noise` is the standard deviation of the noise to be removed, in gray levels; 0 for none.
// STD,DARK,FLOOR,SLOPE says too how it grows with brightness; `superres plan FILE --json` knows them
// of an image that your camera saved as TIFF or PNG.
// The image is computed in tiles of `tile` source pixels, which decide how much memory it takes.

import { readFileSync, writeFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";

// Samples in [0, most], one plane after the other: (c, y, x).
function readImage(path) {
  const bytes = readFileSync(path);
  const head = /^P([56])\s+(\d+)\s+(\d+)\s+(\d+)\s/.exec(bytes.toString("latin1", 0, 64));
  if (!head) throw new Error(`${path} is no binary PGM or PPM without comments`);
  const [kind, width, height, most] = head.slice(1).map(Number);
  const [planes, pixels] = [kind === 6 ? 3 : 1, width * height];
  const samples = new Float32Array(planes * pixels);
  for (let i = 0, at = head[0].length; i < pixels; i++)
    for (let plane = 0; plane < planes; plane++, at += most > 255 ? 2 : 1)
      samples[plane * pixels + i] = most > 255 ? bytes.readUInt16BE(at) : bytes[at];
  return { planes, height, width, most, samples };
}

function writeImage(path, { planes, height, width, most, samples }) {
  const [pixels, size] = [height * width, most > 255 ? 2 : 1];
  const head = Buffer.from(`P${planes === 3 ? 6 : 5} ${width} ${height} ${most}\n`);
  const body = Buffer.alloc(pixels * planes * size);
  for (let i = 0, at = 0; i < pixels; i++)
    for (let plane = 0; plane < planes; plane++, at += size) {
      const value = Math.round(Math.min(most, Math.max(0, samples[plane * pixels + i])));
      if (size === 2) body.writeUInt16BE(value, at);
      else body[at] = value;
    }
  writeFileSync(path, Buffer.concat([head, body]));
}

// Continue 0 .. n - 1 by reflection; `edge` says whether the outermost pixel is repeated.
function mirror(i, n, edge) {
  const period = edge ? 2 * n : Math.max(1, 2 * n - 2);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i - edge;
}

// Return what each tile keeps (start, stop), and what the network sees for it (first, last).
function cut(length, tile, { context, halo, multiple }) {
  const spans = [];
  for (let start = 0; start < length; start += tile) {
    const stop = Math.min(start + tile, length);
    let [first, last] = [start - halo, stop + halo];
    if (context === 0) {
      // At the image's border the network pads with zeros itself.
      [first, last] = [Math.max(first, 0), Math.min(last, length)];
      while ((last - first) % multiple) last++;
    }
    spans.push({ start, stop, first, last });
  }
  return spans;
}

// Return the noise around each pixel of a tile, whose brightness is the mean of 5 x 5 pixels. At the
// tile's border they are not all known, but the network does not look there.
function noiseAround(seen, h, w, [std, dark = 0, floor = 1, slope = 0]) {
  const inside = (i, n) => Math.min(Math.max(i, 0), n - 1);
  const level = new Float32Array(h * w);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let dy = -2; dy <= 2; dy++)
        for (let dx = -2; dx <= 2; dx++)
          sum += seen[inside(y + dy, h) * w + inside(x + dx, w)] - dark;
      level[y * w + x] = std * Math.sqrt(floor + slope * Math.max(sum / 25, 0));
    }
  return level;
}

async function finer(session, facts, image, noise, tile) {
  const { scale, samples, context, limits } = facts;
  const [height, width] = [image.height * scale, image.width * scale];
  const result = { ...image, height, width, samples: new Float32Array(image.planes * height * width) };
  const unit = limits ? image.most : 1;
  // RGB goes through an RGB network together; else planes are computed one by one.
  const together = samples === image.planes ? image.planes : 1;
  for (let plane = 0; plane < image.planes; plane += together)
    for (const rows of cut(image.height, tile, facts))
      for (const columns of cut(image.width, tile, facts)) {
        const [h, w] = [rows.last - rows.first, columns.last - columns.first];
        const seen = new Float32Array(samples * h * w);
        for (let c = 0; c < samples; c++)
          for (let y = 0; y < h; y++)
            for (let x = 0; x < w; x++) {
              const fromY = mirror(rows.first + y, image.height, context > 0);
              const fromX = mirror(columns.first + x, image.width, context > 0);
              const from = (plane + (c % together)) * image.height + fromY;
              seen[(c * h + y) * w + x] = image.samples[from * image.width + fromX] / unit;
            }
        const inputs = { image: new Tensor("float32", seen, [1, samples, h, w]) };
        if (facts.inputs.noise)
          inputs.noise = new Tensor("float32", noiseAround(seen, h, w, noise), [1, 1, h, w]);
        const { out } = await session.run(inputs);
        const [, , outH, outW] = out.dims;
        // Where what is kept begins in the output.
        const top = (rows.start - rows.first - context) * scale;
        const left = (columns.start - columns.first - context) * scale;
        for (let c = 0; c < samples; c++)
          for (let y = 0; y < (rows.stop - rows.start) * scale; y++)
            for (let x = 0; x < (columns.stop - columns.start) * scale; x++) {
              const value = out.data[(c * outH + top + y) * outW + left + x] * unit;
              const to = (plane + (c % together)) * height + rows.start * scale + y;
              // A gray image went in three times: the mean comes out.
              result.samples[to * width + columns.start * scale + x] += (value * together) / samples;
            }
      }
  return result;
}

const [model, source, target, noise = "0", tile = "128"] = process.argv.slice(2);
const told = noise.split(",").map(Number);
if (![1, 4].includes(told.length) || told.some(Number.isNaN))
  throw new Error("noise is STD or STD,DARK,FLOOR,SLOPE");
const facts = JSON.parse(readFileSync(`${model}.json`, "utf8"));
const session = await InferenceSession.create(model);
const image = readImage(source);
const result = await finer(session, facts, image, told, Number(tile));
writeImage(target, result);
const peak = Math.round(process.resourceUsage().maxRSS / 1000);
console.error(
  `${image.height} x ${image.width} -> ${result.height} x ${result.width}, peak memory ${peak} MB`,
);
