// Make a PGM or PPM image of 8 or 16 bits finer, with ncnn and nothing else:
//
//     superres_ncnn MODEL IN.pgm OUT.pgm [noise [tile]]
//
// MODEL.param, MODEL.bin and MODEL.ncnn.json are what `superres models export NAME --format ncnn`
// wrote. `noise` is the standard deviation of the noise to be removed, in gray levels; 0 for none.
// STD,DARK,FLOOR,SLOPE says too how it grows with brightness; `superres plan FILE --json` knows them
// of an image that your camera saved as TIFF or PNG.
// The image is computed in tiles of `tile` source pixels, which decide how much memory it takes.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <net.h>
#include <sys/resource.h>

// Samples in [0, most], one plane after the other: (c, y, x).
struct Image {
    int planes, height, width, most;
    std::vector<float> samples;

    float& at(int plane, int y, int x) {
        return samples[(size_t(plane) * height + y) * width + x];
    }
};

std::string read_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

Image read_image(const std::string& path) {
    const std::string text = read_text(path);
    char kind;
    int width, height, most, used = 0;
    if (sscanf(text.c_str(), "P%c %d %d %d%n", &kind, &width, &height, &most, &used) != 4 ||
        (kind != '5' && kind != '6') || most < 1 || most > 65535)
        throw std::runtime_error(path + " is no binary PGM or PPM without comments");
    const int planes = kind == '6' ? 3 : 1, bytes = most > 255 ? 2 : 1;
    const size_t pixels = size_t(width) * height;
    if (text.size() < used + 1 + pixels * planes * bytes)
        throw std::runtime_error(path + " is cut off");
    Image image{planes, height, width, most, std::vector<float>(pixels * planes)};
    auto byte = reinterpret_cast<const unsigned char*>(text.data()) + used + 1;
    for (size_t i = 0; i < pixels; i++)
        for (int plane = 0; plane < planes; plane++, byte += bytes)
            image.samples[plane * pixels + i] = bytes == 2 ? byte[0] * 256 + byte[1] : byte[0];
    return image;
}

void write_image(const std::string& path, Image& image) {
    std::ofstream file(path, std::ios::binary);
    file << (image.planes == 3 ? "P6 " : "P5 ") << image.width << ' ' << image.height << ' '
         << image.most << '\n';
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width; x++)
            for (int plane = 0; plane < image.planes; plane++) {
                const float value = std::clamp(image.at(plane, y, x), 0.f, float(image.most));
                const int rounded = int(std::nearbyint(value)); // half to even, as NumPy does
                if (image.most > 255) file.put(char(rounded >> 8));
                file.put(char(rounded & 255));
            }
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

// What the network wants, from the facts beside it.
struct Facts {
    int scale, samples, context, halo, multiple;
    bool limits, noise;
};

Facts read_facts(const std::string& path) {
    const std::string text = read_text(path);
    auto value = [&](const std::string& key) {
        const size_t place = text.find("\n \"" + key + "\": ");
        if (place == std::string::npos) throw std::runtime_error(path + " lacks " + key);
        return text.substr(place + key.size() + 6);
    };
    auto number = [&](const std::string& key) { return atoi(value(key).c_str()); };
    return {number("scale"), number("samples"), number("context"), number("halo"),
            number("multiple"), value("limits").rfind("true", 0) == 0,
            text.find("\n  \"noise\": ") != std::string::npos};
}

// Noise to be removed. Its variance around a pixel is that much of the mean of the image.
struct Noise {
    float std = 0, dark = 0, floor = 1, slope = 0;
};

// The noise around each pixel of a tile, whose brightness is the mean of 5 x 5 pixels. At the tile's
// border they are not all known, but the network does not look there.
ncnn::Mat noise_around(const ncnn::Mat& in, const Noise& noise) {
    ncnn::Mat level(in.w, in.h, 1);
    for (int y = 0; y < in.h; y++)
        for (int x = 0; x < in.w; x++) {
            double sum = 0;
            for (int dy = -2; dy <= 2; dy++)
                for (int dx = -2; dx <= 2; dx++)
                    sum += in.channel(0).row(std::clamp(y + dy, 0, in.h - 1))[
                        std::clamp(x + dx, 0, in.w - 1)] - noise.dark;
            const double variance = noise.floor + noise.slope * std::max(sum / 25, 0.0);
            level.channel(0).row(y)[x] = float(noise.std * std::sqrt(variance));
        }
    return level;
}

// Continue 0 .. n - 1 by reflection; `edge` says whether the outermost pixel is repeated.
int mirror(int i, int n, bool edge) {
    const int period = edge ? 2 * n : std::max(1, 2 * n - 2);
    i = (i % period + period) % period;
    return i < n ? i : period - i - edge;
}

struct Span {
    int start, stop; // what a tile keeps
    int first, last; // what the network sees
};

std::vector<Span> cut(int length, int tile, const Facts& facts) {
    std::vector<Span> spans;
    for (int start = 0; start < length; start += tile) {
        Span span{start, std::min(start + tile, length), start - facts.halo, 0};
        span.last = span.stop + facts.halo;
        if (facts.context == 0) { // at the image's border the network pads with zeros itself
            span.first = std::max(span.first, 0);
            span.last = std::min(span.last, length);
            while ((span.last - span.first) % facts.multiple) span.last++;
        }
        spans.push_back(span);
    }
    return spans;
}

Image finer(const ncnn::Net& net, const Facts& facts, Image& image, const Noise& noise,
            int tile) {
    const int s = facts.scale;
    Image result{image.planes, image.height * s, image.width * s, image.most, {}};
    result.samples.assign(size_t(result.planes) * result.height * result.width, 0);
    const float unit = facts.limits ? float(image.most) : 1.f;
    // RGB goes through an RGB network together; else planes are computed one by one.
    const int together = facts.samples == image.planes ? image.planes : 1;
    for (int plane = 0; plane < image.planes; plane += together)
        for (const Span& rows : cut(image.height, tile, facts))
            for (const Span& columns : cut(image.width, tile, facts)) {
                ncnn::Mat in(columns.last - columns.first, rows.last - rows.first, facts.samples);
                for (int c = 0; c < facts.samples; c++)
                    for (int y = 0; y < in.h; y++)
                        for (int x = 0; x < in.w; x++) {
                            const bool edge = facts.context > 0;
                            const int from_y = mirror(rows.first + y, image.height, edge);
                            const int from_x = mirror(columns.first + x, image.width, edge);
                            const int from = plane + c % together;
                            in.channel(c).row(y)[x] = image.at(from, from_y, from_x) / unit;
                        }
                ncnn::Extractor run = net.create_extractor();
                run.input("image", in);
                if (facts.noise) run.input("noise", noise_around(in, noise));
                ncnn::Mat out;
                if (run.extract("out", out)) throw std::runtime_error("there is not enough memory");
                // Where what is kept begins in the output.
                const int top = (rows.start - rows.first - facts.context) * s;
                const int left = (columns.start - columns.first - facts.context) * s;
                for (int c = 0; c < facts.samples; c++)
                    for (int y = 0; y < (rows.stop - rows.start) * s; y++)
                        for (int x = 0; x < (columns.stop - columns.start) * s; x++) {
                            const float value = out.channel(c).row(top + y)[left + x] * unit;
                            // A gray image went in three times: the mean comes out.
                            result.at(plane + c % together, rows.start * s + y,
                                      columns.start * s + x) += value * together / facts.samples;
                        }
            }
    return result;
}

int main(int count, char** words) try {
    if (count < 4) throw std::runtime_error("superres_ncnn MODEL IN.pgm OUT.pgm [noise [tile]]");
    const std::string model = words[1];
    Noise noise;
    const std::string given = count < 5 ? "0" : words[4];
    int one = 0, four = 0;  // where the numbers end
    const int told = sscanf(given.c_str(), "%f%n,%f,%f,%f%n", &noise.std, &one, &noise.dark,
                            &noise.floor, &noise.slope, &four);
    if ((told != 1 && told != 4) || given[told == 4 ? four : one])
        throw std::runtime_error("noise is STD or STD,DARK,FLOOR,SLOPE");
    const int tile = count > 5 ? atoi(words[5]) : 128;
    const Facts facts = read_facts(model + ".ncnn.json");
    if (tile < 1 || tile % facts.multiple) throw std::runtime_error("the tile has a wrong size");
    ncnn::Net net;
    // Half precision is ncnn's default on ARM; the files are checked without it.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = false;
    net.opt.lightmode = true;
    if (net.load_param((model + ".param").c_str()) || net.load_model((model + ".bin").c_str()))
        throw std::runtime_error("ncnn cannot load " + model);
    Image image = read_image(words[2]);
    const auto begin = std::chrono::steady_clock::now();
    Image result = finer(net, facts, image, noise, tile);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    write_image(words[3], result);
    rusage used;
    getrusage(RUSAGE_SELF, &used);
    fprintf(stderr, "%d x %d -> %d x %d in %.2f s, peak memory %ld MB\n", image.height,
            image.width, result.height, result.width, took.count(), used.ru_maxrss / 1000);
} catch (const std::exception& error) {
    std::cerr << "superres_ncnn: " << error.what() << '\n';
    return 1;
}
