/* vsitlm: GDAL plugin that makes Sentinel-2's JPEG 2000 archives cloud-ready without touching them.
 *
 * GDAL loads gdal_vsitlm.so by itself (GDAL_DRIVER_PATH, or its plugin folder). A program that loads the library in
 * another way calls GDALRegister_vsitlm() after GDAL is loaded. All functions may be called from any thread.
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

/* The same, by the name that GDAL looks for when it knows no other. */
void GDALRegisterMe(void);

/* The version, such as "0.1.0": a static string. */
const char *vsitlm_version(void);

/* How many reads have failed for good in this process, on whatever thread. The program sees an error, unless GDAL could
 * have the tile at a second try. Only where a file's tile-parts are not known, rasterio does not see what fails in a read
 * of one band by several threads: compare the number before and after. */
uint64_t vsitlm_read_errors(void);

/* Copies the message of the last read that failed for good in this process, on whatever thread, into buffer, cut to fit
 * size and ended by NUL. Returns the message's length in bytes without the NUL; 0 where no read has failed. */
size_t vsitlm_last_error(char *buffer, size_t size);

/* Copies what this process has asked of each host so far, as JSON, into buffer, cut to fit size and ended by NUL. Returns
 * the text's length in bytes without the NUL: call it again with a larger buffer where it does not fit.
 *
 *   {"version": "0.1.0", "process": 1234, "total": {...}, "hosts": {"https://host": {...}, ...}}
 *
 * The counters of each: requests (every try and every redirect), bytes (of bodies received, failed tries included),
 * cache_hits and shared_fetches (parts of files that were at hand, or that another thread was fetching already), retries,
 * waits and waited_ms (for a free connection, for a quota, or because the host asked for a pause), read_errors. With
 * VSITLM_STATS set it is written when the process ends. */
size_t vsitlm_statistics(char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
