/* vsitlm: GDAL plugin that makes Sentinel-2's JPEG 2000 archives cloud-ready without touching them.
 *
 * GDAL loads gdal_vsitlm.so by itself (GDAL_DRIVER_PATH, or its plugin folder). A program that loads the library in
 * another way calls GDALRegister_vsitlm() after GDAL is loaded. All functions may be called from any thread. Texts are
 * UTF-8: one that does not fit a buffer is cut where a character ends. Any pointer may be null: what is said of each
 * function then holds.
 */
#ifndef VSITLM_H
#define VSITLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Installs the file system /vsitlm/ in every libgdal that the process has loaded and that does not have it yet.
 * May be called any number of times. */
void GDALRegister_vsitlm(void);

/* The same, by the name that GDAL looks for when it finds no other. */
void GDALRegisterMe(void);

/* The version, such as "0.1.0": a static string. */
const char *vsitlm_version(void);

/* The number of reads that have failed for good in this process, on any thread. The program sees an error, unless GDAL got
 * the tile at a second try. There is one exception: where a file's tile-parts are not known, rasterio does not see a failure
 * in a read of one band by several threads. Compare the number before and after such a read. */
uint64_t vsitlm_read_errors(void);

/* Copies the message of the last read that failed for good in this process, on any thread, into buffer, cut to fit
 * size at the end of a character and ended by NUL; nothing is copied where buffer is null or size is 0. Returns the
 * message's length in bytes without the NUL; 0 where no read has failed. */
size_t vsitlm_last_error(char *buffer, size_t size);

/* Copies what this process has asked of each host so far, as JSON, into buffer, cut to fit size and ended by NUL. Returns
 * the text's length in bytes without the NUL. Where it does not fit, call the function again with a larger buffer.
 *
 *   {"version": "0.1.0", "process": 1234, "total": {...}, "hosts": {"https://host": {...}, ...}}
 *
 * The counters of each host: requests (every try and every redirect), bytes (of bodies received, failed tries included),
 * cache_hits and shared_fetches (parts of files that were in the cache, or that another thread was fetching already),
 * retries, waits and waited_ms (for a free connection, for a quota, or because the host asked for a pause), read_errors.
 * With VSITLM_STATS set the JSON is written when the process ends. */
size_t vsitlm_statistics(char *buffer, size_t size);

/* Copies which libgdals were found so far, as JSON, into buffer, as vsitlm_statistics() does.
 *
 *   {"version": "0.1.0", "gdals": [{"path": "/usr/lib/libgdal.so.32", "version": "3.6.2", "openjpeg": "2.5.0",
 *                                   "served": true, "reason": null}]}
 *
 * openjpeg is the version of the OpenJPEG that the libgdal is linked with, or null where it is linked with none (its driver
 * may be a plugin). reason says why it is not served. */
size_t vsitlm_gdals(char *buffer, size_t size);

/* Runs the command line with count arguments, of which the first is the program's name ("vsitlm"), and returns its exit
 * code: 0 all went well, 1 something failed, 2 the arguments are not valid, or one of them is null. It prints to standard
 * output and error, and takes its options from the environment. */
int vsitlm_command(int count, const char *const *arguments);

/* Samples that a question was answered with, in memory that the program has until it calls release, with this struct or a
 * copy of it, once. data has size bytes, and may be written to; owner is the library's own. */
struct vsitlm_samples {
  void *data;
  size_t size;
  void (*release)(struct vsitlm_samples *samples);
  void *owner;
};

/* Takes the answer to a question. user is that of vsitlm_ask(); json is valid until the function returns. samples is null
 * unless the question was "read" and went well. Then the program copies the struct, and releases the copy in time.
 *
 * It is called on a thread of the library, for one answer after the other. It has to be short, and it has to return: it must
 * not end the thread or let an exception out. A question that cannot be understood is answered on the caller's thread,
 * before vsitlm_ask() returns. */
typedef void (*vsitlm_answer)(void *user, const char *json, struct vsitlm_samples *samples);

/* Asks a question, in JSON, and returns its number, which is not 0. answer is called exactly once, unless the question is
 * cancelled. Nothing waits on the caller's thread. Returns 0, and does nothing, where answer is null. A question that is
 * null or not valid UTF-8 is answered by an error of the kind Question.
 *
 *   {"ask": "describe", "path": "/vsitlm/https://host/T31UDQ_20241016T105031_B03_10m.jp2",
 *    "options": {"VSITLM_INDEX": "/data/index.parquet"}}
 *
 * path is a whole GDAL path, /vsitlm/... or /vsitlm?.... GDAL's configuration options are those that the calling thread has
 * when it asks, in the first libgdal that is served, else those of the environment. Those of "options", which may be
 * missing, go before them. Where the same caller has the file open already, the options of that open hold. The questions:
 *
 * describe: what the image is, by its main header. transform is in affine order: x = a * column + b * row + c,
 * y = d * column + e * row + f. transform and epsg are null where the file has none that the library understands. tile_shape
 * is (rows, columns), overviews are the factors of the coarser images, size is in bytes.
 *
 *   {"width": 10980, "height": 10980, "count": 1, "dtype": "uint16", "epsg": 32629,
 *    "transform": [10.0, 0.0, 499980.0, 0.0, -10.0, 5900040.0], "tile_shape": [1024, 1024], "overviews": [2, 4, 8, 16],
 *    "size": 108415043}
 *
 * fetch: fetches everything that decoding the file or view reads. No thread is blocked while bytes are under way, except for
 * files that only GDAL's own file systems can read. The answer has the bytes and the requests that it took, without those of
 * opening the file. Both are 0 for local files, and for what is in the cache or under way already. What is fetched stays in
 * the cache, whose size (VSITLM_CACHE_SIZE, 256 MB) bounds what can be fetched before it is read. A file that does not fit
 * its index row is an error.
 *
 *   {"bytes": 868352, "requests": 1}
 *
 * read: fetches and decodes the file or view, without GDAL. bands, which may be missing, are those that are wanted, from 1
 * on; else it is all of them. The samples come with the answer, band by band, row by row, in the type that describe tells:
 * shape is bands, rows and columns. VSITLM_THREADS threads decode at the same time. What the decoder leaves out is an error of
 * the kind Undecoded: GDAL may still read the file.
 *
 *   {"ask": "read", "path": "/vsitlm?window=0,0,256,256&url=...", "bands": [1]}
 *
 *   {"shape": [1, 256, 256], "dtype": "uint16", "bytes": 868352, "requests": 1}
 *
 * "squares" of a whole or reduced image, in place of a window, are squares of "side" pixels that begin at the columns and
 * rows "at". They are fetched and decoded together: name those of a tile or so at once. Their samples come one below the
 * other: shape is bands, the number of squares times their side, and the side.
 *
 *   {"ask": "read", "path": "/vsitlm/...", "squares": {"side": 1, "at": [[10, 20], [700, 3]]}}
 *
 *   {"shape": [1, 2, 1], "dtype": "uint16", "bytes": 151211, "requests": 4}
 *
 * parts: where the file's tile-parts lie, in its order: the tile's number, the offset and the length in bytes. location is
 * where the file lies, without query string or credentials: for the name of a product it is the place that was found.
 *
 *   {"location": "https://host/T31UDQ_20241016T105031_B03_10m.jp2",
 *    "parts": [[0, 3231, 868352], [1, 871583, 860117]]}
 *
 * For a reduced view, /vsitlm?overview=16&url=..., these are the parts that vsitlm_decode() needs of each tile for that
 * level: of the tile-part with the last packet that is needed no more than that, where it is known where packets lie, and
 * none of those behind it. Tiles that have no pixels there are left out. Of a TIFF the parts are the tiles or strips of the
 * image or of the overview, as far as the file has them.
 *
 * rows: the rows that the index (VSITLM_INDEX) has for the file, the likeliest first; for the name of a product, the rows of
 * all its files. An index that cannot be read is a warning. origin, etag, file_size, last_modified (seconds since 1970),
 * tile_parts and overview_factor may be null.
 *
 *   {"rows": [{"product_id": "S2A_MSIL2A_...", "mgrs_tile": "31UDQ", "band_id": "B03", "resolution": 10,
 *              "path": "...", "origin": "https://...", "etag": "\"...\"", "file_size": 108415043,
 *              "last_modified": 1729090000, "tile_parts": 121, "has_tlm": false, "overview_factor": null,
 *              "has_packets": false}],
 *    "warnings": []}
 *
 * scan: what `vsitlm info --json` prints for a JP2.
 *
 * Any answer may have "warnings", a list of texts. What fails is answered by
 *
 *   {"error": {"kind": "NotFound", "message": "..."}}
 *
 * kind is one of Path, Option, Malformed, Row, Index, Miss, Product, NoOverview, Undecoded, Band, Window, NotFound, Denied,
 * Read, Changed, Question.
 *
 * After fork() the child's questions are its own: those of its parent are answered in the parent alone. */
uint64_t vsitlm_ask(const char *question, vsitlm_answer answer, void *user);

/* Ends a question and its requests. Returns 1 where answer will not be called any more. Returns 0 where it was or will be
 * called, or is being called, and for numbers of no question. */
int vsitlm_cancel(uint64_t question);

/* Decodes a JP2 or a bare codestream that the program has in memory: size bytes at data. answer is called with user on the
 * caller's thread, before the function returns, as for a question "read". wanted is JSON, of which any part may be missing:
 *
 *   {"window": [0, 0, 256, 256], "reduce": 1, "bands": [1], "threads": 2}
 *
 * The image is decoded at 1/2^reduce, its window of column, row, width and height in pixels of that.
 *
 * With "tile": true the data is a main header, without the boxes of a JP2, and the tile-parts of one tile in their order, as
 * the file has them; EOC may be missing. The tile's number is that of the SOT marker segments (T.800 A.4.2). The window is
 * one of the tile at 1/2^reduce, from its first pixel on. The samples are those of its pixels that the tile has: it ends at
 * the image's edge, and there may be none. Without "bands" it is the first band alone. The last tile-part may be cut behind
 * the last packet of the resolutions that "reduce" needs: of a coarser image this may be a small part of it. Where one of
 * these packets is missing or cut, that is an error of the kind Malformed.
 *
 * With "tiff_row": n the data is two columns of the row of a TIFF, one behind the other: index, of n bytes, and header. It is
 * told what the TIFF is, and there are no samples. factor is how many times as wide the whole image is, rounded. coding says
 * how a tile of a level is packed; it is null where tiles are of several bands, or the last strip has fewer rows. refused is
 * the error that decoding the file's tiles ends with, or null.
 *
 *   {"count": 1, "dtype": "uint16", "nodata": "0", "refused": null,
 *    "levels": [{"factor": 1, "shape": [10980, 10980], "tile_shape": [1024, 1024],
 *                "coding": {"compression": "deflate", "predictor": 2, "dtype": "uint16", "endian": "little",
 *                           "tile": [1024, 1024]}}]}
 *
 * With "tiff_tile": a coding, the data is a tile that is packed so, and all of its pixels are decoded. */
void vsitlm_decode(const void *data, size_t size, const char *wanted, vsitlm_answer answer, void *user);

/* Arrow's C stream interface (https://arrow.apache.org/docs/format/CStreamInterface.html). */
struct ArrowArrayStream;

/* Makes stream one of the rows of indexes, for programs that take Arrow's tables. index names them, separated by ';', as
 * VSITLM_INDEX does: files, and folders or prefixes of which every .parquet file below is meant. Options are those of the
 * calling thread, as for vsitlm_ask(); those of options, a JSON object that may be NULL, go before them. Blocks while the
 * indexes are opened, and later while rows are read.
 *
 * Returns 0 where that worked: the program then calls stream->release. Otherwise stream is left as it was, and the error
 * is copied into error as vsitlm_statistics() copies its text, as the JSON {"error": {...}} of vsitlm_ask(); its length in
 * bytes is returned.
 *
 * Rows come in the order of the files, with all columns that any of the files has, as docs/index-format.md lists them;
 * what a file lacks is null. A row group is read at a time. Where reading fails, get_next returns an errno, EIO for
 * instance, get_last_error the message, and no more rows follow. The stream may be used and released on any thread, by one
 * at a time; arrays outlive it. */
size_t vsitlm_index_rows(const char *index, const char *options, struct ArrowArrayStream *stream, char *error, size_t size);

#ifdef __cplusplus
}
#endif

#endif
